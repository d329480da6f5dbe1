// Local identities, applied to each node as it is built: constant folding, neutral and absorbing
// elements, movements that cancel, slices moved toward the leaves so that gates of one contraction
// meet in one loop. Numbers change by no rounding except that x * 0 becomes 0. Tested by
// tests/ir/simplify_test.cpp.
#pragma once

#include <span>

#include "ir/graph.h"

namespace espalier::ir {

/// A simpler value equal to `op(operands)` of type `type`, or an empty Value.
Value simplify(GraphBuilder& builder, const Op& op, std::span<const Value> operands,
               const Attributes& attributes, const Type& type);

}  // namespace espalier::ir
