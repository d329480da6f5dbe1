// A part of a minibatch: the instances that some of its losses depend on, as an instance graph of
// their own. Made by the engine to run a minibatch part by part within a memory limit. Instances
// keep their order and their random streams; what parts share is in each of them.
#pragma once

#include <span>
#include <vector>

#include "ir/record/instance_graph.h"

namespace espalier::ir {

class Part {
 public:
  /// Finds what `losses` of `whole` depend on. Linear in that, but for sorting it.
  void find(const InstanceGraph& whole, std::span<const InstanceId> losses);
  /// Bytes that `find` holds at the most, for any losses of a whole of that size.
  static std::size_t most_find_bytes(const GraphSize& whole);
  /// What was found, in numbers.
  const GraphSize& size() const { return size_; }
  /// Becomes what was found; buffers are reused, and grow to just what is needed.
  void take(const InstanceGraph& whole);

  InstanceGraph& graph() { return graph_; }
  /// The losses as instances of graph(), in their order.
  std::span<const InstanceId> losses() const { return losses_; }
  std::size_t bytes() const {
    return graph_.bytes() + capacity_bytes(losses_, members_, number_, operands_);
  }

 private:
  InstanceGraph graph_;
  GraphSize size_;
  std::vector<InstanceId> losses_;
  std::vector<InstanceId> members_;  // instances of the whole
  std::vector<InstanceId> number_;   // instance of the whole → of the part; clean between calls
  std::vector<InstanceId> operands_;
};

/// Losses with those of one example together, also if examples were recorded in turns.
class LossGroups {
 public:
  /// `losses` of `whole`: examples in the order of their first losses, as they are within each, and
  /// if no example was begun. Valid until the next time.
  std::span<const InstanceId> group(const InstanceGraph& whole, std::span<const InstanceId> losses);
  /// Held at the most for so many of each.
  static std::size_t most_bytes(std::size_t examples, std::size_t losses);
  std::size_t bytes() const {
    return examples_.bytes() + capacity_bytes(example_of_, next_, grouped_);
  }

 private:
  ExampleTable examples_;
  std::vector<std::uint32_t> example_of_;  // loss → position of its example
  std::vector<std::uint32_t> next_;        // example → where its next loss goes
  std::vector<InstanceId> grouped_;
};

/// Where to divide grouped losses in two: a position about the middle at which another example
/// begins (the examples of `graph.stream`), or any position if none was begun; 0 if there is none.
std::size_t middle(const InstanceGraph& graph, std::span<const InstanceId> losses);

}  // namespace espalier::ir
