// Strategies: pure functions from an instance graph to a schedule, in one visible table that tests,
// benches and the command walk. A strategy is one source file and one row.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "ir/record/instance_graph.h"
#include "scheduler/cell_graph.h"
#include "scheduler/schedule.h"

namespace espalier::scheduler {

class Strategy {
 public:
  virtual ~Strategy() = default;
  /// Schedules the instances from graph.done() on into `schedule`, whose buffers are reused. Pure
  /// and deterministic (ties by cell, then by instance); `const` but not thread-safe: scratch
  /// buffers are kept between calls so that a warm call allocates nothing.
  virtual void run(const ir::InstanceGraph& graph, const CellGraph& cells,
                   Schedule& schedule) const = 0;
};

struct StrategyInfo {
  std::string_view name, summary;
  std::unique_ptr<Strategy> (*make)();
};

/// The table.
std::span<const StrategyInfo> strategies();
/// Throws UserError that lists the names if there is no such strategy.
std::unique_ptr<Strategy> make_strategy(std::string_view name);

}  // namespace espalier::scheduler
