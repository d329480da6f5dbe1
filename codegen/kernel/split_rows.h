// Weight gradients of few elements, for targets with many more threads than those have: sums over
// all rows of a minibatch become sums over parts of the rows, side by side, and sums of the parts.
// Made of what lower_weight_gradient gives; the bits depend on the number of rows alone. See
// tests/codegen/split_rows_test.cpp.
#pragma once

#include "codegen/kernel/kernel.h"

namespace espalier::codegen {

/// Rows that one partial sum goes over.
inline constexpr std::int64_t usual_part_rows = 4 * row_block;

/// The same kernel, with products of less than a GPU's worth of tiles in parts of `part_rows` rows
/// (a multiple of row_block). Parts of all products come first, joined by twos, into buffers of
/// role `partial`; then all sums of parts, in order, joined to what runs once.
Kernel split_rows(const Kernel& kernel, std::int64_t part_rows = usual_part_rows);

}  // namespace espalier::codegen
