// Follows memory from stage to stage of a kernel that lowering made: that no stage reads what is
// not there yet. The runtime, where it verifies, and tests of lowering run it behind verify_kernel.
#pragma once

#include "codegen/kernel/kernel.h"

namespace espalier::codegen {

/// Throws InternalError unless, in every row of every buffer that the kernel stores rows of,
/// * what a stage reads was stored by stages before it, each element of it;
/// * what a stage reads is not what it stores, but for the very element that it replaces;
/// * a contraction's terms lie within a row;
/// and rows are read where rows of that kind are counted. Rows are taken as equals: an address is a
/// row times the buffer's row, and an element. Elements are followed one by one.
/// Buffers that overlap each other (an arena read and written) are beyond this check.
void verify_memory(const Kernel& kernel);

}  // namespace espalier::codegen
