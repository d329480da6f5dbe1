#include "codegen/kernel/compiled_kernel.h"

#include <algorithm>
#include <numeric>

namespace espalier::codegen {

std::int64_t CudaStage::tiles(std::int64_t row_count) const {
  if (!joined.empty())
    return std::accumulate(
        joined.begin(), joined.end(), std::int64_t{0},
        [&](std::int64_t sum, const CudaStage& stage) { return sum + stage.tiles(row_count); });
  if (rows == RowDomain::once) row_count = 1;
  const bool large = row_count >= large_from;
  const std::int64_t height = large ? large_row_tile : row_tile;
  return (row_count + height - 1) / height * (large ? large_parts : parts);
}

}  // namespace espalier::codegen
