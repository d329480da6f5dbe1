#include "ir/record/example_table.h"

#include <algorithm>

namespace espalier::ir {
namespace {

constexpr std::size_t first_capacity = 64;

}  // namespace

std::uint32_t ExampleTable::find_or_insert(std::uint64_t id, std::uint32_t calls) {
  if (2 * examples_.size() >= slots_.size()) grow();
  Slot& found = slot(id);
  if (found.generation == generation_) return found.position;
  found = {generation_, static_cast<std::uint32_t>(examples_.size())};
  examples_.push_back({id, calls});
  return found.position;
}

ExampleTable::Slot& ExampleTable::slot(std::uint64_t id) {
  const std::size_t mask = slots_.size() - 1;
  // Multiplying carries differences up, to where the result is taken.
  std::size_t at = (id * 0x9e3779b97f4a7c15) >> 32 & mask;
  while (slots_[at].generation == generation_ && examples_[slots_[at].position].id != id)
    at = (at + 1) & mask;
  return slots_[at];
}

void ExampleTable::clear() {
  examples_.clear();
  if (++generation_ != 0) return;
  std::ranges::fill(slots_, Slot{});
  generation_ = 1;
}

void ExampleTable::grow() {
  slots_.assign(std::max(first_capacity, 2 * slots_.size()), Slot{});
  for (std::uint32_t position = 0; position < examples_.size(); ++position)
    slot(examples_[position].id) = {generation_, position};
}

}  // namespace espalier::ir
