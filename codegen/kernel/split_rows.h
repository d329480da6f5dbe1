// Spreads weight gradients of few elements over the many threads of a GPU: a sum over all rows of a
// minibatch becomes sums over parts of the rows, side by side, and a sum of the parts. Applied to
// what lower_weight_gradient gives. The bits depend on the number of rows alone. Tested by
// tests/codegen/split_rows_test.cpp.
#pragma once

#include "codegen/kernel/kernel.h"

namespace espalier::codegen {

/// Rows that one partial sum goes over.
inline constexpr std::int64_t usual_part_rows = 4 * row_block;

/// The kernel with products whose tiles do not fill a GPU split into parts of `part_rows` rows (a
/// multiple of row_block). The parts of all products come first, two products to a launch, stored
/// to buffers of role `partial`; then the sums of parts, in order, joined to the other `once`
/// stages.
Kernel split_rows(const Kernel& kernel, std::int64_t part_rows = usual_part_rows);

}  // namespace espalier::codegen
