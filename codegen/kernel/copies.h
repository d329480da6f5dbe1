// What a kernel moves without computing: the floats that a stage loads and stores as they are, be
// it a gather, a concat or an output that is another's value. Counted from the kernel that runs.
#pragma once

#include "codegen/kernel/kernel.h"

namespace espalier::codegen {

/// Floats copied for each row of the stage (for the whole, if it runs once).
std::int64_t copied_floats(const Kernel& kernel, const Stage& stage);

}  // namespace espalier::codegen
