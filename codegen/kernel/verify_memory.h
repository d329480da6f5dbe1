// Checks the memory of a lowered kernel from stage to stage: no stage reads what has not been
// stored yet. Run after verify_kernel by the runtime, where it verifies, and by lowering's tests.
#pragma once

#include "codegen/kernel/kernel.h"

namespace espalier::codegen {

/// Throws InternalError unless, in every row of every buffer that the kernel stores rows of,
/// * every element that a stage reads was stored by an earlier stage;
/// * a stage does not read what it stores, except the element that it replaces;
/// * a contraction's terms lie within a row;
/// * rows of instances are read by instance, rows of children by child.
/// All rows are treated alike: an address is row · row_elements + element, and elements are tracked
/// one by one. Buffers that overlap each other (an arena read and written) are not checked.
void verify_memory(const Kernel& kernel);

}  // namespace espalier::codegen
