// Batches by (level, cell), for the strategies that give each instance a level. A counting sort on
// two keys, linear in instances + cells + levels; within a batch instances stay in order.
#pragma once

#include <cstdint>
#include <vector>

#include "ir/record/instance_graph.h"
#include "scheduler/schedule.h"

namespace espalier::scheduler {

class LevelBatches {
 public:
  /// The level of each instance from graph.done() on, at position instance - graph.done(). Levels
  /// lie below `level_count`; one without instances makes no batch.
  std::vector<std::uint32_t> levels;
  std::uint32_t level_count = 0;

  /// Writes the batches of `levels` into `schedule`.
  void build(const ir::InstanceGraph& graph, std::size_t cell_count, Schedule& schedule);

 private:
  std::vector<std::uint32_t> next_of_cell_, next_of_level_;
  std::vector<ir::InstanceId> by_cell_;
};

}  // namespace espalier::scheduler
