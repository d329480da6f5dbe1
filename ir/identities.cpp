#include "ir/identities.h"

#include <algorithm>
#include <optional>

#include "ir/op.h"

namespace espalier::ir {
namespace {

std::optional<double> constant_of(const Value& value) {
  if (value.is(OpId::constant)) return value.node().attributes.number;
  return std::nullopt;
}

std::vector<Value> operands_of(const Value& value) {
  std::vector<Value> result;
  for (NodeId id : value.node().operands) result.push_back({value.builder, id});
  return result;
}

Value constant_like(GraphBuilder& b, double number, const Type& type) {
  return b.leaf(OpId::constant, type, {{}, number, type.shape});
}

Value cut(GraphBuilder& b, Value x, int axis, int begin, int length) {
  return b.apply(OpId::slice, {x}, {.ints = {axis, begin}, .shape = x.shape().with(axis, length)});
}

Value simplify_elementwise(GraphBuilder& b, const Op& op, std::span<const Value> x,
                           const Type& type) {
  std::vector<double> numbers;
  for (const Value& value : x)
    if (const auto number = constant_of(value)) numbers.push_back(*number);
  if (numbers.size() == x.size()) return constant_like(b, op.evaluate(numbers.data()), type);
  const std::optional<double> a = constant_of(x[0]), c = constant_of(x[x.size() > 1]);
  if (op.id == OpId::add) {
    if (a == 0.0) return x[1];
    if (c == 0.0) return x[0];
    if (x[1].is(OpId::neg)) return x[0] - x[1].operand(0);
    if (x[0].is(OpId::neg)) return x[1] - x[0].operand(0);
    if (x[0].is(OpId::concat) && x[1].is(OpId::concat) &&
        x[0].node().attributes == x[1].node().attributes) {
      const auto left = operands_of(x[0]), right = operands_of(x[1]);
      const bool aligned = std::ranges::equal(
          left, right, [](const Value& l, const Value& r) { return l.type() == r.type(); });
      if (aligned) {
        std::vector<Value> parts;
        for (std::size_t i = 0; i < left.size(); ++i) parts.push_back(left[i] + right[i]);
        return b.apply(OpId::concat, parts, x[0].node().attributes);
      }
    }
  } else if (op.id == OpId::sub) {
    if (c == 0.0) return x[0];
    if (a == 0.0) return -x[1];
    if (x[1].is(OpId::neg)) return x[0] + x[1].operand(0);
  } else if (op.id == OpId::mul) {
    if (a == 0.0 || c == 0.0) return constant_like(b, 0, type);
    if (a == 1.0) return x[1];
    if (c == 1.0) return x[0];
    if (a == -1.0) return -x[1];
    if (c == -1.0) return -x[0];
  } else if (op.id == OpId::div) {
    if (a == 0.0) return constant_like(b, 0, type);
    if (c == 1.0) return x[0];
  } else if (op.id == OpId::neg) {
    if (x[0].is(OpId::neg)) return x[0].operand(0);
    if (x[0].is(OpId::sub)) return x[0].operand(1) - x[0].operand(0);
  } else if (op.id == OpId::where && a) {
    return *a != 0 ? x[1] : x[2];
  }
  return {};
}

/// Slices move toward the leaves, through everything but contractions and reductions.
Value simplify_slice(GraphBuilder& b, Value x, const Attributes& attributes, const Type& type) {
  const int axis = attributes.ints[0], begin = attributes.ints[1];
  const int length = type.shape[axis];
  if (x.shape() == type.shape) return x;
  const Op& from = *x.node().op;
  if (from.id == OpId::slice && x.node().attributes.ints[0] == axis)
    return cut(b, x.operand(0), axis, begin + x.node().attributes.ints[1], length);
  if (from.kind == OpClass::elementwise) {
    std::vector<Value> parts;
    for (const Value& value : operands_of(x)) parts.push_back(cut(b, value, axis, begin, length));
    return b.apply(from, parts, x.node().attributes);
  }
  if (from.id == OpId::concat && x.node().attributes.ints[0] == axis) {
    std::vector<Value> parts;
    int position = 0;
    for (const Value& part : operands_of(x)) {
      const int extent = part.shape()[axis];
      const int low = std::max(begin, position), high = std::min(begin + length, position + extent);
      if (low < high) parts.push_back(cut(b, part, axis, low - position, high - low));
      position += extent;
    }
    return parts.size() == 1 ? parts[0] : b.apply(from, parts, x.node().attributes);
  }
  if (from.id == OpId::broadcast) {
    const Value source = x.operand(0);
    const int source_axis = axis - (x.shape().rank() - source.shape().rank());
    const bool repeated = source_axis < 0 || source.shape()[source_axis] == 1;
    return b.apply(OpId::broadcast,
                   {repeated ? source : cut(b, source, source_axis, begin, length)},
                   {.shape = type.shape});
  }
  if (from.id == OpId::per_child)
    return b.apply(OpId::per_child, {cut(b, x.operand(0), axis, begin, length)},
                   {.ints = x.node().attributes.ints});
  if (from.id == OpId::transpose)
    return b.apply(OpId::transpose, {cut(b, x.operand(0), 1 - axis, begin, length)});
  if (from.id == OpId::outer)
    return axis == 0 ? b.apply(OpId::outer, {cut(b, x.operand(0), 0, begin, length), x.operand(1)})
                     : b.apply(OpId::outer,
                               {x.operand(0), cut(b, x.operand(1), axis - 1, begin, length)});
  return {};
}

/// outer(a, x) and outer(b, x) end to end are outer(concat(a, b), x), and likewise along the axes
/// of the right operand; zeros join in. So a weight used in slices still has one outer product as
/// its gradient.
Value join_outers(GraphBuilder& b, std::span<const Value> parts, int axis) {
  const std::size_t joined = axis == 0 ? 0 : 1;
  Value kept;
  std::vector<Value> operands;
  for (const Value& part : parts) {
    if (constant_of(part) == 0.0) {
      Type zeros = part.type();
      zeros.shape = joined == 0 ? Shape{zeros.shape[0]} : zeros.shape.without_first();
      operands.push_back(constant_like(b, 0, zeros));
      continue;
    }
    if (!part.is(OpId::outer) || (kept && kept.id != part.operand(1 - joined).id)) return {};
    kept = part.operand(1 - joined);
    operands.push_back(part.operand(joined));
  }
  if (!kept) return {};
  const Value whole = b.apply(OpId::concat, operands, {.ints = {joined == 0 ? 0 : axis - 1, 0}});
  return joined == 0 ? b.apply(OpId::outer, {whole, kept}) : b.apply(OpId::outer, {kept, whole});
}

/// One row of something computed is computed alone: the label's element of a softmax.
Value simplify_row(GraphBuilder& b, const Op& row, Value x, Value index, const Type& type) {
  const Op& from = *x.node().op;
  if (from.kind == OpClass::elementwise) {
    std::vector<Value> rows;
    for (const Value& value : operands_of(x)) {
      const Value operands[] = {value, index};
      rows.push_back(b.apply(row, operands));
    }
    return b.apply(from, rows, x.node().attributes);
  }
  if (from.id == OpId::broadcast && type.shape.rank() == 0)
    return b.apply(OpId::reshape, {x.operand(0)}, {.shape = type.shape});
  return {};
}

Value simplify_movement(GraphBuilder& b, const Op& op, std::span<const Value> operands,
                        const Attributes& attributes, const Type& type) {
  const Value x = operands[0];
  if (const auto number = constant_of(x); number && !op.assembles)
    return constant_like(b, *number, type);
  if (op.id == OpId::slice) return simplify_slice(b, x, attributes, type);
  if (op.takes_index) return simplify_row(b, op, x, operands[1], type);
  if (op.id == OpId::reshape) {
    if (x.shape() == type.shape) return x;
    if (x.is(OpId::reshape)) return b.apply(OpId::reshape, {x.operand(0)}, {.shape = type.shape});
  } else if (op.id == OpId::broadcast) {
    if (x.shape() == type.shape) return x;
    if (x.is(OpId::broadcast))
      return b.apply(OpId::broadcast, {x.operand(0)}, {.shape = type.shape});
  } else if (op.id == OpId::transpose) {
    if (x.is(OpId::transpose)) return x.operand(0);
    if (x.is(OpId::outer) && x.operand(1).shape().rank() == 1)
      return b.apply(OpId::outer, {x.operand(1), x.operand(0)});
    if (x.is(OpId::concat)) {
      std::vector<Value> parts;
      for (const Value& part : operands_of(x)) parts.push_back(b.apply(OpId::transpose, {part}));
      return b.apply(OpId::concat, parts, {.ints = {1 - x.node().attributes.ints[0], 0}});
    }
  } else if (op.assembles) {
    if (operands.size() == 1) return x;
    const auto first = constant_of(x);
    if (first &&
        std::ranges::all_of(operands, [&](const Value& v) { return constant_of(v) == first; }))
      return constant_like(b, *first, type);
    return join_outers(b, operands, attributes.ints[0]);
  }
  return {};
}

}  // namespace

Value simplify(GraphBuilder& b, const Op& op, std::span<const Value> operands,
               const Attributes& attributes, const Type& type) {
  const auto any_zero = [&] {
    return std::ranges::any_of(operands, [](const Value& v) { return constant_of(v) == 0.0; });
  };
  switch (op.kind) {
    case OpClass::elementwise:
      return simplify_elementwise(b, op, operands, type);
    case OpClass::movement:
      return simplify_movement(b, op, operands, attributes, type);
    case OpClass::contraction:
      return any_zero() ? constant_like(b, 0, type) : Value{};
    case OpClass::reduction:
      if (op.combine == Combine::sum && any_zero()) return constant_like(b, 0, type);
      if (!op.over_children && operands[0].shape()[attributes.ints[0]] == 1)
        return b.apply(OpId::reshape, {operands[0]}, {.shape = type.shape});
      return {};
    case OpClass::leaf:
    case OpClass::composite:
      return {};
  }
  return {};
}

}  // namespace espalier::ir
