// How a CPU target cuts a stage into parts and register tiles. The emitter follows it; the compiler
// reports it to the runtime, also for code that comes from the disk cache.
#pragma once

#include <cstdint>

#include "codegen/kernel/kernel.h"
#include "codegen/kernel/target.h"

namespace espalier::codegen {

/// The width of vectors along an axis: the target's, or less where a smaller power of two suffices.
int vector_width(const Target& target, std::int64_t extent);

/// Rows × vectors per gate of a contraction stage, for the lanes that its weights are packed for.
TileShape contraction_tile(const Kernel& kernel, const Stage& stage, const Target& target);

/// An outer product is computed in blocks of rows × columns, each made of register tiles. The
/// partial sums of a block are on the stack while the kernel walks a block of the reduction that
/// fits in the cache.
struct OuterTile {
  int rows = 1, vectors = 1;     ///< of a register tile
  std::int64_t block_rows = 1;   ///< of a part; whole tiles
  std::int64_t block_tiles = 1;  ///< columns of a block, in register tiles
  std::int64_t blocks = 1;       ///< of columns
  bool by_columns = false;       ///< a part is a block of columns of all rows, not of rows
};
OuterTile outer_tile(const Stage& stage, const Target& target);

/// See CompiledStage::parts.
std::int64_t stage_parts(const Kernel& kernel, const Stage& stage, const Target& target);

}  // namespace espalier::codegen
