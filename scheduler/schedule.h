// A schedule: the ordered batches of a minibatch. Made by a strategy, consumed by the layout and
// the runtime. Every instance from `done()` on lies in exactly one batch; a batch holds one cell;
// operands lie in earlier batches; the order is deterministic.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ir/record/instance_graph.h"

namespace espalier::scheduler {

/// Instances order[begin … end) of one cell, run as one launch.
struct Batch {
  ir::CellId cell = -1;
  std::uint32_t begin = 0, end = 0;

  bool operator==(const Batch&) const = default;
};

struct Schedule {
  std::vector<Batch> batches;
  std::vector<ir::InstanceId> order;  ///< the instances, batch by batch; ascending within a batch

  std::span<const ir::InstanceId> instances(const Batch& batch) const {
    return {order.data() + batch.begin, batch.end - batch.begin};
  }
  std::size_t bytes() const { return ir::capacity_bytes(batches, order); }
  bool operator==(const Schedule&) const = default;
};

/// Throws InternalError unless the properties above hold; of the order, that instances ascend
/// within a batch.
void check(const Schedule& schedule, const ir::InstanceGraph& graph);

/// The least number of batches that any schedule of the instances from `first` on can have: the
/// sum over cells of the most instances of that cell on one path (ED-Batch, Chen et al. 2023,
/// section 3). O(instances × cells).
std::size_t lower_bound(const ir::InstanceGraph& graph, ir::InstanceId first = 0);

}  // namespace espalier::scheduler
