#include "ir/part.h"

#include <algorithm>

namespace espalier::ir {

namespace {
constexpr InstanceId outside = UINT32_MAX;
}

void Part::take(const InstanceGraph& whole, std::span<const InstanceId> losses) {
  graph_.clear();
  members_.clear();
  losses_.clear();
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

  for (const InstanceId id : members_) {
    operands_.clear();
    for (const InstanceId operand : whole.operands(id)) operands_.push_back(number_[operand]);
    number_[id] = graph_.add_copy(whole.cell(id), operands_, whole.indices(id), whole.stream(id));
  }
  for (const InstanceId loss : losses) losses_.push_back(number_[loss]);
  for (const InstanceId id : members_) number_[id] = outside;
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
