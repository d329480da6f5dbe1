// The value of a single node, in double: for whoever looks at a graph while it grows or evaluates
// one in another way than ir/evaluate.h does.
#pragma once

#include <span>

#include "ir/evaluate.h"

namespace espalier::test {

/// `node` is no leaf; `children` as for ir::evaluate.
ir::Array evaluate_node(const ir::Node& node, std::span<const ir::Array* const> operands,
                        std::span<const int> children);

}  // namespace espalier::test
