// Copies of weights in the layout of codegen::Packing, written row by row of the params that they
// are made of: whoever changes some rows of a param renews just those.
#pragma once

#include <cstdint>

#include "codegen/kernel/kernel.h"

namespace espalier::runtime {

/// Writes rows [row_begin, row_end) of `param`, as far as they belong to the block, into the packed
/// matrix. `param` is the whole param in C order, rows being those of `block.param_columns`.
void pack_rows(const codegen::Packing& packing, const codegen::Packing::Block& block,
               const float* param, std::int64_t row_begin, std::int64_t row_end, float* packed);

}  // namespace espalier::runtime
