#include "ir/op.h"

#include <algorithm>
#include <unordered_map>

#include "base/error.h"

namespace espalier::ir {
std::span<const Op> ops() {
  static const std::vector<Op> table = [] {
    std::vector<Op> all;
    for (auto part :
         {leaf_ops, elementwise_ops, reduction_ops, movement_ops, contraction_ops, composite_ops})
      std::ranges::move(part(), std::back_inserter(all));
    return all;
  }();
  return table;
}

const Op& op(std::string_view name) {
  static const std::unordered_map<std::string_view, const Op*> by_name = [] {
    std::unordered_map<std::string_view, const Op*> map;
    for (const Op& op : ops()) map.emplace(op.name, &op);
    return map;
  }();
  const auto found = by_name.find(name);
  if (found != by_name.end()) return *found->second;
  std::vector<std::string_view> names;
  for (const Op& op : ops()) names.push_back(op.name);
  throw UserError(
      fmt::format("no op is called '{}'; the nearest is '{}'", name, nearest_name(name, names)));
}

const Op& op(OpId id) {
  static const auto by_id = [] {
    std::array<const Op*, std::size_t(OpId::count)> records{};
    for (const Op& op : ops()) records[std::size_t(op.id)] = &op;
    return records;
  }();
  internal_check(id != OpId::other && by_id[std::size_t(id)], "op {} has no record", int(id));
  return *by_id[std::size_t(id)];
}

std::string ShapeContext::describe(int i) const {
  const auto name = [&](std::size_t j) {
    return builder && builder->describe ? builder->describe(builder->node(nodes[j])) : "";
  };
  std::string who = name(std::size_t(i));
  if (who.empty()) {
    int unnamed = 0;
    for (std::size_t j = 0; j < operands.size(); ++j) unnamed += name(j).empty();
    who = "operand";
    if (unnamed > 1)
      who += op.variadic ? fmt::format(" {}", i + 1)
                         : fmt::format(" '{}'", op.operands[std::size_t(i)]);
  }
  return fmt::format("{} is {}", who, to_string(operands[std::size_t(i)].shape));
}

void ShapeContext::check_number(int i) const {
  check(operands[std::size_t(i)].dtype == DType::f32,
        "expected a number, found an index: " + describe(i));
}

Attributes canonical(const Op& op, const Attributes& attributes, const Type& result) {
  Attributes kept;
  for (std::size_t i = 0; i < kept.ints.size(); ++i)
    if (!op.attributes.ints[i].empty()) kept.ints[i] = attributes.ints[i];
  if (!op.attributes.number.empty()) kept.number = attributes.number;
  if (op.attributes.shape || (op.kind == OpClass::movement && !op.takes_index))
    kept.shape = result.shape;
  return kept;
}

void ShapeContext::fail(const std::string& what) const {
  std::string place;
  if (builder && !builder->context().empty()) place = " (" + builder->context() + ")";
  throw UserError(fmt::format("{}: {}{}", op.name, what, place));
}

}  // namespace espalier::ir
