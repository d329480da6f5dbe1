// Many kernels as one CUDA C++ text: a single kernel that walks an array of records on the device,
// runs the stage that each record names, and waits at a barrier of all blocks where a record asks
// for one. Made and launched by the runtime's persistent walk. A stage gives the same bits here as
// in a launch of its own.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "codegen/cuda/emit.h"

namespace espalier::codegen {

/// One launch of a stage, as the device reads it. It begins as an EspalierLaunch does, so that the
/// stage's own kernel takes a record as well.
struct alignas(16) WalkRecord {
  void* const* buffers = nullptr;
  std::int64_t row_begin = 0, row_end = 0;
  std::int32_t stage = 0;         ///< of the walker: one, or several that are joined
  std::int32_t buffer_count = 0;  ///< pointers at `buffers`
  /// The block that takes the first tile: records without a barrier between them run side by side.
  std::int32_t first_block = 0;
  std::int32_t flags = 0;
  /// Where the block's share of the weights lies in shared memory, in floats; -1: not held there.
  std::int32_t held_at = -1;
  std::int32_t held_width = 0;  ///< elements of a gate that a block holds

  static constexpr std::int32_t barrier = 1;  ///< all blocks wait for each other before it
  static constexpr std::int32_t fill = 2;     ///< the weights have to be brought there first
  /// Each block runs its share of the rows, the same of the same rows in all such records: what it
  /// wrote to them it may read without a barrier.
  static constexpr std::int32_t share = 4;
  bool operator==(const WalkRecord&) const = default;
};

/// What the kernel is given, in device memory.
struct alignas(16) Walk {
  const WalkRecord* records = nullptr;
  std::int32_t count = 0;
  std::uint32_t arrived = 0;      ///< 0 when it is launched
  std::int32_t work_bytes = 0;    ///< shared memory of the stages
  std::int32_t most_buffers = 0;  ///< of any record
};

inline constexpr const char* walk_symbol = "espalier_walk";

/// A contraction whose weights are shared out to blocks, `width` neighbouring elements of each gate
/// to each, and stay in their shared memory. For few rows.
struct HeldTile {
  int gates = 1, lanes = 1, terms = 1, rows = 1;  ///< rows that a block handles together
  std::int64_t length = 0, depth = 0;
  std::int64_t pitch = 0;  ///< floats from one column of weights to the next

  /// Of a block that holds so many elements; multiples of 16.
  std::int64_t slice_bytes(std::int64_t width) const;
  std::int64_t work_bytes(std::int64_t width) const;
  /// Of the packed weights that are shared out.
  std::int64_t packed_bytes() const { return 4 * blocks(lanes) * lanes * gates * depth; }
  /// Blocks that have a share.
  std::int64_t blocks(std::int64_t width) const { return ceil_div(length, width); }
};
HeldTile held_tile(const Kernel& kernel, const Stage& stage);

/// Shared memory of a block that walks, apart from what is held: the stages' own at first, then
/// that of the walk.
std::int64_t walk_bytes(std::int64_t work_bytes, std::int64_t most_buffers);

struct WalkerText {
  std::string source;
  std::vector<int> first_stage;   ///< of each kernel: the number of its first one of `stages`
  std::vector<CudaStage> stages;  ///< of all kernels, in order; joined ones together
  std::int64_t most_buffers = 0;  ///< of a kernel
};
WalkerText print_walker(std::span<const Kernel* const> kernels);

}  // namespace espalier::codegen
