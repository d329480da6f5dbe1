// Which packed weights the blocks of a walk keep in shared memory, so that contractions of a few
// rows do not read them from global memory at every level. Chosen when a walk is planned; each
// block holds the same share of the weights through the whole walk.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "codegen/cuda/walker.h"
#include "runtime/cuda/pending_launch.h"

namespace espalier::runtime {

/// Contractions of more rows use tiles, which read the weights less often per row.
inline constexpr std::int64_t most_held_rows = 64;

/// The contraction of the launch if its weights may be held, else null.
const codegen::Stage* may_hold(const PendingLaunch& launch);

struct HeldWeights {
  const void* weights = nullptr;  ///< packed, on the device
  codegen::HeldTile tile;
  std::int64_t width = 0;   ///< elements of each gate that a block holds
  std::int64_t offset = 0;  ///< bytes from the begin of a block's held memory
  std::int32_t first_block = 0;
};

/// Which weights a walk on `grid` blocks holds in `bytes` of shared memory of each block: those
/// that save most traffic, of contractions of few rows that are launched at least twice and whose
/// working memory fits `work_bytes`.
std::vector<HeldWeights> choose_held(std::span<const PendingLaunch> launches, std::int64_t grid,
                                     std::int64_t bytes, std::int64_t work_bytes);

/// The entry of `held` that the launch uses; null if its weights are not held or it has many rows.
const HeldWeights* held_of(const PendingLaunch& launch, std::span<const HeldWeights> held);

}  // namespace espalier::runtime
