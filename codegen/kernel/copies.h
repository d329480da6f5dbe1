// Counts what a kernel copies: the floats that a stage loads and stores unchanged, for a gather, a
// concat, or an output equal to another value.
#pragma once

#include "codegen/kernel/kernel.h"

namespace espalier::codegen {

/// Floats copied per row of the stage; in total if the stage runs once.
std::int64_t copied_floats(const Kernel& kernel, const Stage& stage);

}  // namespace espalier::codegen
