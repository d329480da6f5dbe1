#include "scheduler/schedule.h"

#include <algorithm>

#include "base/error.h"

namespace espalier::scheduler {

using ir::InstanceId;

void check(const Schedule& schedule, const ir::InstanceGraph& graph) {
  constexpr std::uint32_t unscheduled = UINT32_MAX;
  const InstanceId first = graph.done();
  std::vector<std::uint32_t> batch_of(graph.size() - first, unscheduled);

  std::uint32_t end = 0;
  for (std::uint32_t b = 0; b < schedule.batches.size(); ++b) {
    const Batch& batch = schedule.batches[b];
    internal_check(
        batch.begin == end && batch.begin < batch.end && batch.end <= schedule.order.size(),
        "batch {} is [{}, {}) of {} ordered instances, the batch before ends at {}", b, batch.begin,
        batch.end, schedule.order.size(), end);
    end = batch.end;
    for (std::uint32_t k = batch.begin; k < batch.end; ++k) {
      const InstanceId i = schedule.order[k];
      internal_check(i >= first && i < graph.size(), "batch {} holds instance {}, not in [{}, {})",
                     b, i, first, graph.size());
      internal_check(batch_of[i - first] == unscheduled, "instance {} is in batches {} and {}", i,
                     batch_of[i - first], b);
      internal_check(graph.cell(i) == batch.cell,
                     "batch {} of cell {} holds instance {} of cell {}", b, batch.cell, i,
                     graph.cell(i));
      if (k > batch.begin) {
        internal_check(schedule.order[k - 1] < i, "instance {} precedes instance {} in batch {}",
                       schedule.order[k - 1], i, b);
      }
      batch_of[i - first] = b;
    }
  }
  internal_check(end == schedule.order.size(), "{} ordered instances lie in no batch",
                 schedule.order.size() - end);

  for (InstanceId i = first; i < graph.size(); ++i) {
    const std::uint32_t own = batch_of[i - first];
    internal_check(own != unscheduled, "instance {} is in no batch", i);
    for (InstanceId operand : graph.operands(i)) {
      if (operand < first) continue;
      internal_check(batch_of[operand - first] < own,
                     "instance {} in batch {} reads instance {} in batch {}", i, own, operand,
                     batch_of[operand - first]);
    }
  }
}

std::size_t lower_bound(const ir::InstanceGraph& graph, InstanceId first) {
  const auto cells = graph.cells().subspan(first);
  if (cells.empty()) return 0;
  const ir::CellId last = *std::max_element(cells.begin(), cells.end());
  std::vector<std::uint32_t> chain(cells.size());
  std::size_t bound = 0;
  for (ir::CellId cell = 0; cell <= last; ++cell) {
    std::uint32_t longest = 0;
    for (InstanceId i = first; i < graph.size(); ++i) {
      std::uint32_t before = 0;
      for (InstanceId operand : graph.operands(i))
        if (operand >= first) before = std::max(before, chain[operand - first]);
      chain[i - first] = before + (graph.cell(i) == cell ? 1 : 0);
      longest = std::max(longest, chain[i - first]);
    }
    bound += longest;
  }
  return bound;
}

}  // namespace espalier::scheduler
