#include "ir/record/part.h"

#include <algorithm>

namespace espalier::ir {

namespace {
constexpr InstanceId outside = UINT32_MAX;
}

void Part::find(const InstanceGraph& whole, std::span<const InstanceId> losses) {
  members_.clear();
  losses_.assign(losses.begin(), losses.end());
  number_.resize(whole.size(), outside);
  const auto add = [&](InstanceId id) {
    if (number_[id] != outside) return;
    number_[id] = 0;
    members_.push_back(id);
  };
  for (const InstanceId loss : losses) add(loss);
  for (std::size_t i = 0; i < members_.size(); ++i)
    for (const InstanceId operand : whole.operands(members_[i])) add(operand);
  std::ranges::sort(members_);
  size_ = {.instances = members_.size(), .losses = losses.size()};
  std::size_t most_operands = 0;  // of one of them
  for (const InstanceId id : members_) {
    const std::size_t operands = whole.operands(id).size();
    most_operands = std::max(most_operands, operands);
    size_.operands += operands;
    size_.indices += whole.indices(id).size();
    number_[id] = outside;
  }
  operands_.reserve(most_operands);
}

std::size_t Part::most_find_bytes(const GraphSize& whole) {
  // A list that grows one by one has room for twice as many.
  return (whole.instances * 3 + whole.operands + whole.losses) * sizeof(InstanceId);
}

void Part::take(const InstanceGraph& whole) {
  graph_.clear();
  graph_.reserve(size_.instances, size_.operands, size_.indices);
  for (const InstanceId id : members_) {
    operands_.clear();
    for (const InstanceId operand : whole.operands(id)) operands_.push_back(number_[operand]);
    number_[id] = graph_.add_copy(whole.cell(id), operands_, whole.indices(id), whole.stream(id));
  }
  for (InstanceId& loss : losses_) loss = number_[loss];
  for (const InstanceId id : members_) number_[id] = outside;
}

std::span<const InstanceId> LossGroups::group(const InstanceGraph& whole,
                                              std::span<const InstanceId> losses) {
  if (whole.examples() == 0) return losses;
  examples_.clear();
  example_of_.clear();
  example_of_.reserve(losses.size());
  for (const InstanceId loss : losses) {
    const std::uint32_t example = examples_.find_or_insert(whole.stream(loss).example, 0);
    example_of_.push_back(example);
    ++examples_[example].calls;
  }
  next_.assign(examples_.size(), 0);
  for (std::uint32_t example = 1; example < examples_.size(); ++example)
    next_[example] = next_[example - 1] + examples_[example - 1].calls;
  grouped_.resize(losses.size());
  for (std::size_t i = 0; i < losses.size(); ++i) grouped_[next_[example_of_[i]]++] = losses[i];
  return grouped_;
}

std::size_t LossGroups::most_bytes(std::size_t examples, std::size_t losses) {
  return ExampleTable::most_bytes(examples) +
         2 * (losses * (sizeof(std::uint32_t) + sizeof(InstanceId)) +
              examples * sizeof(std::uint32_t));
}

std::size_t middle(const InstanceGraph& graph, std::span<const InstanceId> losses) {
  const std::size_t half = losses.size() / 2;
  const auto begins = [&](std::size_t i) {
    return graph.examples() == 0 ||
           graph.stream(losses[i]).example != graph.stream(losses[i - 1]).example;
  };
  for (std::size_t away = 0; away <= half; ++away) {
    if (half - away > 0 && begins(half - away)) return half - away;
    if (half + away < losses.size() && half + away > 0 && begins(half + away)) return half + away;
  }
  return 0;
}

}  // namespace espalier::ir
