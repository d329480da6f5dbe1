#include "ir/record/share_table.h"

#include <algorithm>

namespace espalier::ir {
namespace {

constexpr std::size_t first_capacity = 1024;

std::uint32_t hash_of(CellId cell, std::span<const InstanceId> operands,
                      std::span<const std::int32_t> indices) {
  auto hash = static_cast<std::uint64_t>(cell);
  // Multiplying carries differences up, to where the result is taken.
  const auto mix = [&](std::uint32_t value) { hash = (hash ^ value) * 0x9e3779b97f4a7c15; };
  mix(static_cast<std::uint32_t>(operands.size()));
  for (InstanceId operand : operands) mix(operand);
  for (std::int32_t index : indices) mix(static_cast<std::uint32_t>(index));
  return static_cast<std::uint32_t>(hash >> 32);
}

}  // namespace

InstanceId ShareTable::find_or_insert(const InstanceGraph& graph, CellId cell,
                                      std::span<const InstanceId> operands,
                                      std::span<const std::int32_t> indices) {
  if (2 * used_ >= mask_) grow();
  const std::uint32_t hash = hash_of(cell, operands, indices);
  std::size_t at = hash & mask_;
  for (; slots_[at].generation == generation_; at = (at + 1) & mask_) {
    const Slot& slot = slots_[at];
    if (slot.hash == hash && graph.cell(slot.instance) == cell &&
        std::ranges::equal(graph.operands(slot.instance), operands) &&
        std::ranges::equal(graph.indices(slot.instance), indices))
      return slot.instance;
  }
  const auto next = static_cast<InstanceId>(graph.size());
  slots_[at] = {generation_, hash, next};
  ++used_;
  return next;
}

void ShareTable::clear() {
  used_ = 0;
  if (++generation_ != 0) return;
  std::ranges::fill(slots_, Slot{});
  generation_ = 1;
}

void ShareTable::grow() {
  std::vector<Slot> old(std::max(first_capacity, 2 * slots_.size()));
  old.swap(slots_);
  mask_ = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (slot.generation != generation_) continue;
    std::size_t at = slot.hash & mask_;
    while (slots_[at].generation == generation_) at = (at + 1) & mask_;
    slots_[at] = slot;
  }
}

}  // namespace espalier::ir
