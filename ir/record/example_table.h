// The examples of a minibatch, told apart by their ids, with the number of calls that each has made
// so far. Kept by the instance graph, so that examples can be recorded in turns; asked whenever
// another example goes on. `clear` keeps the capacity and costs nothing.
#pragma once

#include <cstdint>
#include <vector>

namespace espalier::ir {

class ExampleTable {
 private:
  struct Slot {
    std::uint32_t generation = 0;  ///< the slot is in use if this is the table's
    std::uint32_t position = 0;
  };

 public:
  struct Example {
    std::uint64_t id = 0;
    std::uint32_t calls = 0;
  };

  /// The position of the example with this id, in the order in which they came first; a new one has
  /// made `calls` calls.
  std::uint32_t find_or_insert(std::uint64_t id, std::uint32_t calls);
  Example& operator[](std::uint32_t position) { return examples_[position]; }
  std::size_t size() const { return examples_.size(); }

  /// Forgets all examples.
  void clear();

  /// Held at the most for so many examples.
  static std::size_t most_bytes(std::size_t examples) {
    return (4 * examples + 64) * sizeof(Slot) + 2 * examples * sizeof(Example);
  }
  std::size_t bytes() const {
    return slots_.capacity() * sizeof(Slot) + examples_.capacity() * sizeof(Example);
  }

 private:
  void grow();
  /// The slot of that id, or the free one where it belongs.
  Slot& slot(std::uint64_t id);

  std::vector<Example> examples_;
  std::vector<Slot> slots_;  // a power of two of them, at most half in use; linear probing
  std::uint32_t generation_ = 1;
};

}  // namespace espalier::ir
