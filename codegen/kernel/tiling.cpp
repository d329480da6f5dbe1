#include "codegen/kernel/tiling.h"

#include <algorithm>
#include <bit>

#include "base/error.h"

namespace espalier::codegen {

namespace {

/// Tiles of a block, at most `most`, so that some eight blocks or more keep two, four or eight
/// threads busy to the end.
std::int64_t even_blocks(std::int64_t tiles, std::int64_t most) {
  const std::int64_t largest = std::clamp<std::int64_t>(ceil_div(tiles, 8), 1, most);
  std::int64_t best = 1, best_time = INT64_MAX;
  for (std::int64_t block = largest; block >= ceil_div(largest, 2); --block) {
    std::int64_t time = 0;
    for (const std::int64_t threads : {2, 4, 8})
      time += block * ceil_div(ceil_div(tiles, block), threads) * threads;
    if (time < best_time) {
      best = block;
      best_time = time;
    }
  }
  return best;
}

}  // namespace

int vector_width(const Target& target, std::int64_t extent) {
  if (extent >= target.width) return target.width;
  return static_cast<int>(std::bit_ceil(static_cast<std::uint64_t>(extent)));
}

TileShape contraction_tile(const Kernel& kernel, const Stage& stage, const Target& target) {
  const Packing& packing = kernel.packings[stage.contraction->packing];
  internal_check(packing.lanes % target.width == 0, "{} lanes on a target of width {}",
                 packing.lanes, target.width);
  const int vectors = packing.lanes / target.width;
  return {tile_rows(target, packing.gates * vectors), vectors};
}

OuterTile outer_tile(const Stage& stage, const Target& target) {
  const std::int64_t m = stage.extents[0], k = stage.extents[1];
  const TileShape shape = tile_shape(target, 1, static_cast<long>(k));
  OuterTile tile{.rows = static_cast<int>(std::min<std::int64_t>(shape.rows, m)),
                 .vectors = shape.vectors};
  // Partial sums and a block of both factors lie in the second-level cache together. Many rows
  // share the reads of a column block; but leave some eight parts to share among threads.
  constexpr std::int64_t max_rows = 320, max_columns = 256;
  const std::int64_t tile_columns = std::int64_t{tile.vectors} * target.width;
  tile.block_tiles = std::clamp<std::int64_t>(k / tile_columns, 1, max_columns / tile_columns);
  const std::int64_t tiles = ceil_div(m, tile.rows), whole = k / tile_columns * tile_columns;
  tile.blocks = std::max<std::int64_t>(ceil_div(whole, tile.block_tiles * tile_columns), 1);
  // Each part reads all columns that it has: few rows are not taken apart where columns can be.
  tile.by_columns = tile.blocks >= 8 && tiles * tile.rows <= max_rows;
  tile.block_rows =
      tile.rows * (tile.by_columns ? tiles : even_blocks(tiles, max_rows / tile.rows));
  return tile;
}

std::int64_t stage_parts(const Kernel& kernel, const Stage& stage, const Target& target) {
  if (stage.contraction) return kernel.packings[stage.contraction->packing].panels();
  if (stage.outer_product) {
    const OuterTile tile = outer_tile(stage, target);
    return tile.by_columns ? tile.blocks : ceil_div(stage.extents[0], tile.block_rows);
  }
  if (stage.rows != RowDomain::once || stage.extents.empty()) return 1;
  const std::int64_t extent = stage.extents[0];
  if (stage.extents.size() > 1 || stage.vector_reduce) return extent;
  return ceil_div(extent, vector_width(target, extent));
}

}  // namespace espalier::codegen
