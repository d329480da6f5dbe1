// Which instances of a minibatch are equal: same cell, same operands, same indices. The recorder
// asks at every instance that may be shared and adds those that are new, so that equal subtrees
// meet from the leaves up. A hash finds candidates; equality is decided field by field, in the
// instance graph. Holds numbers of instances only; `clear` keeps the capacity and costs nothing.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ir/record/instance_graph.h"

namespace espalier::ir {

class ShareTable {
 public:
  /// The equal instance of `graph`, the same graph until `clear`. If there is none, graph.size():
  /// the caller adds the instance next.
  InstanceId find_or_insert(const InstanceGraph& graph, CellId cell,
                            std::span<const InstanceId> operands,
                            std::span<const std::int32_t> indices);

  /// Forgets all instances.
  void clear();

  /// Of a slot; there are two or more for each instance.
  static constexpr std::size_t bytes_each = 3 * sizeof(std::uint32_t);
  std::size_t bytes() const { return slots_.capacity() * sizeof(Slot); }

 private:
  struct Slot {
    std::uint32_t generation = 0;  ///< the slot is in use if this is the table's
    std::uint32_t hash = 0;
    InstanceId instance = 0;
  };

  void grow();

  std::vector<Slot> slots_;          // a power of two of them, at most half in use; linear probing
  std::size_t mask_ = 0, used_ = 0;  // mask_: their number less one
  std::uint32_t generation_ = 1;
};

}  // namespace espalier::ir
