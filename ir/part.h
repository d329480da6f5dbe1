// A part of a minibatch: the instances that some of its losses depend on, as an instance graph of
// their own. Made by the engine to run a minibatch part by part within a memory limit. Instances
// keep their order and their random streams; what parts share is in each of them.
#pragma once

#include <span>
#include <vector>

#include "ir/instances.h"

namespace espalier::ir {

class Part {
 public:
  /// Becomes the part of `whole` that `losses` depend on; buffers are reused. Linear in the part,
  /// but for sorting its instances.
  void take(const InstanceGraph& whole, std::span<const InstanceId> losses);

  InstanceGraph& graph() { return graph_; }
  /// The losses as instances of graph(), in their order.
  std::span<const InstanceId> losses() const { return losses_; }
  std::size_t bytes() const {
    return graph_.bytes() + capacity_bytes(losses_, members_, number_, operands_);
  }

 private:
  InstanceGraph graph_;
  std::vector<InstanceId> losses_;
  std::vector<InstanceId> members_;  // instances of the whole
  std::vector<InstanceId> number_;   // instance of the whole → of the part; clean between calls
  std::vector<InstanceId> operands_;
};

/// Where to divide losses in two: a position about the middle at which another example begins (the
/// examples of `graph.stream`), or any position if none was begun; 0 if there is none.
std::size_t middle(const InstanceGraph& graph, std::span<const InstanceId> losses);

}  // namespace espalier::ir
