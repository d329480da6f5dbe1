#include "runtime/cuda/held_weights.h"

#include <algorithm>
#include <functional>

namespace espalier::runtime {

using codegen::Stage;

namespace {

const void* weights_of(const PendingLaunch& launch, const Stage& stage) {
  return launch.pointers[stage.contraction->weights];
}

}  // namespace

const Stage* may_hold(const PendingLaunch& launch) {
  const Stage* const stage = launch.alone();
  const bool few = launch.row_end - launch.row_begin <= most_held_rows;
  return stage && stage->contraction && !stage->library && few ? stage : nullptr;
}

const HeldWeights* held_of(const PendingLaunch& launch, std::span<const HeldWeights> held) {
  const Stage* const stage = may_hold(launch);
  if (!stage) return nullptr;
  const auto found = std::ranges::find(held, weights_of(launch, *stage), &HeldWeights::weights);
  if (found == held.end()) return nullptr;
  // Contractions of other shapes may read the same weights.
  const codegen::HeldTile tile = codegen::held_tile(launch.kernel->kernel, *stage);
  const bool same = tile.terms <= found->tile.terms && tile.gates == found->tile.gates &&
                    tile.lanes == found->tile.lanes && tile.length == found->tile.length &&
                    tile.depth == found->tile.depth;
  return same ? &*found : nullptr;
}

std::vector<HeldWeights> choose_held(std::span<const PendingLaunch> launches, std::int64_t grid,
                                     std::int64_t bytes, std::int64_t work_bytes) {
  struct Candidate {
    HeldWeights held;
    std::int64_t times = 0;
    std::int64_t saved() const { return (times - 1) * held.tile.slice_bytes(held.width); }
  };
  std::vector<Candidate> candidates;
  for (const PendingLaunch& launch : launches) {
    const Stage* const stage = may_hold(launch);
    if (!stage) continue;
    const void* const weights = weights_of(launch, *stage);
    auto found =
        std::ranges::find(candidates, weights, [](const Candidate& c) { return c.held.weights; });
    const codegen::HeldTile tile = codegen::held_tile(launch.kernel->kernel, *stage);
    if (found == candidates.end()) {
      const std::int64_t width = (tile.length + grid - 1) / grid;
      candidates.push_back({{.weights = weights, .tile = tile, .width = width}, 0});
      found = candidates.end() - 1;
    }
    found->held.tile.terms = std::max(found->held.tile.terms, tile.terms);
    ++found->times;
  }
  std::ranges::stable_sort(candidates, std::ranges::greater{}, &Candidate::saved);
  std::vector<HeldWeights> held;
  std::int64_t used = 0, blocks = 0;
  for (Candidate& candidate : candidates) {
    HeldWeights& chosen = candidate.held;
    const std::int64_t slice = chosen.tile.slice_bytes(chosen.width);
    if (candidate.times < 2 || used + slice > bytes) continue;
    if (chosen.tile.work_bytes(chosen.width) > work_bytes) continue;
    chosen.offset = used;
    // Contractions that run side by side should be held by different blocks.
    chosen.first_block = std::int32_t(blocks % grid);
    used += slice;
    blocks += chosen.tile.blocks(chosen.width);
    held.push_back(chosen);
  }
  return held;
}

}  // namespace espalier::runtime
