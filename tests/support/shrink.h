// Makes a program that shows a fault smaller, as long as it shows it.
#pragma once

#include <functional>

#include "ir/program.h"

namespace espalier::test {

/// `shows` says whether a program still shows the fault; it may throw for programs that are none.
/// Drops cells and fields, and puts operands, params or constants in the place of values.
ir::Program shrink(ir::Program program, const std::function<bool(const ir::Program&)>& shows);

}  // namespace espalier::test
