#include "runtime/cuda/walk_plan.h"

namespace espalier::runtime {

using codegen::WalkRecord;

std::vector<WalkRecord> plan_walk(std::span<const PendingLaunch> launches, Conflicts conflicts,
                                  std::int64_t grid, std::span<const HeldWeights> held,
                                  std::int64_t held_begin) {
  std::vector<WalkRecord> records;
  std::vector<bool> filled(held.size());  // whether the blocks hold the current values
  std::int64_t tiles = 0;                 // of the launches so far: the next one begins behind them
  for (const PendingLaunch& launch : launches) {
    WalkRecord& record = records.emplace_back();
    record.row_begin = launch.row_begin;
    record.row_end = launch.row_end;
    record.buffer_count = std::int32_t(launch.kernel->kernel.buffers.size());
    if (conflicts.barrier_before(launch)) record.flags |= WalkRecord::barrier;
    for (std::size_t i = 0; i < held.size(); ++i)
      if (conflicts.writes(held[i].weights, held[i].tile.packed_bytes())) filled[i] = false;
    if (const HeldWeights* const weights = held_of(launch, held)) {
      const auto i = std::size_t(weights - held.data());
      if (!filled[i]) record.flags |= WalkRecord::fill;
      filled[i] = true;
      record.held_at = std::int32_t((held_begin + weights->offset) / 4);
      record.held_width = std::int32_t(weights->width);
      record.first_block = weights->first_block;
    } else if (shares_rows(launch)) {
      record.flags |= WalkRecord::share;
    } else {
      record.first_block = std::int32_t(tiles % grid);
      tiles += launch.tiles();
    }
  }
  return records;
}

}  // namespace espalier::runtime
