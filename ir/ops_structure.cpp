// Leaves, reductions and movements: ops that say where numbers come from.
#include <algorithm>

#include "base/error.h"
#include "ir/op.h"

namespace espalier::ir {
namespace {

using V = Value;

const Type vec{DType::f32, {6}, per_instance};
const Type mat{DType::f32, {4, 6}, per_instance};
const Type index_type{DType::i32, {}, per_instance};

Op leaf(OpName name, std::string_view summary, AttributeNames attributes) {
  Op op;
  op.name = name.text;
  op.id = name.id;
  op.kind = OpClass::leaf;
  op.summary = summary;
  op.attributes = attributes;
  op.type = [](const ShapeContext&) -> Type {
    throw InternalError("a leaf's type is given, not derived");
  };
  return op;
}

void check_axis(const ShapeContext& c, int axis) {
  c.check(axis >= 0 && axis < c.shape(0).rank(),
          fmt::format("axis {} does not exist: {}", axis, c.describe(0)));
}

Type with_shape(const ShapeContext& c, Shape shape) {
  return {c.operands[0].dtype, shape, c.operands[0].children};
}

Op reduction(OpName name, std::string_view summary, Combine combine, bool over_children) {
  Op op;
  op.name = name.text;
  op.id = name.id;
  op.kind = OpClass::reduction;
  op.summary = summary;
  op.operands = {"x"};
  op.domain = {{-3, 3}};
  op.ulp = combine == Combine::sum ? 0.5 : 0;
  op.combine = combine;
  op.over_children = over_children;
  if (over_children) {
    op.type = [](const ShapeContext& c) -> Type {
      c.check_number(0);
      c.check(c.operands[0].children != per_instance,
              "expected a value per child: " + c.describe(0));
      return {DType::f32, c.shape(0), per_instance};
    };
    op.examples = {{{{DType::f32, {6}, 0}}, {}}, {{{DType::f32, {}, 0}}, {}}};
  } else {
    op.attributes = {.ints = {"axis"}};
    op.type = [](const ShapeContext& c) {
      c.check_number(0);
      check_axis(c, c.attributes.ints[0]);
      return with_shape(c, c.shape(0).without(c.attributes.ints[0]));
    };
    op.examples = {{{vec}, {.ints = {0, 0}}}, {{mat}, {.ints = {0, 0}}}, {{mat}, {.ints = {1, 0}}}};
  }
  return op;
}

/// `x`, which lacks the reduced axis (or the children), spread back over `like`.
V spread(V x, V like, const Attributes& attributes, bool over_children) {
  GraphBuilder& b = *x.builder;
  if (over_children) return b.apply(OpId::per_child, {x}, {.ints = {like.type().children, 0}});
  const V kept = b.apply(OpId::reshape, {x}, {.shape = like.shape().with(attributes.ints[0], 1)});
  return b.apply(OpId::broadcast, {kept}, {.shape = like.shape()});
}

template <bool over_children>
std::vector<V> sum_gradient(const GradientContext& c) {
  return {spread(c.cotangent, c.operands[0], c.attributes, over_children)};
}

/// Shared evenly by all that are largest: children may well be equal (the same word twice).
template <bool over_children>
std::vector<V> max_gradient(const GradientContext& c) {
  const V x = c.operands[0];
  const V largest = equal(x, spread(c.result, x, c.attributes, over_children));
  const V count =
      x.builder->apply(over_children ? OpId::sum_children : OpId::sum, {largest}, c.attributes);
  return {largest * spread(c.cotangent / count, x, c.attributes, over_children)};
}

Op movement(OpName name, std::string_view summary, AttributeNames attributes,
            Type (*type)(const ShapeContext&), std::vector<int> (*source)(const MovementContext&),
            std::vector<V> (*gradient)(const GradientContext&), std::vector<Op::Example> examples) {
  Op op;
  op.name = name.text;
  op.id = name.id;
  op.kind = OpClass::movement;
  op.summary = summary;
  op.operands = {"x"};
  op.attributes = attributes;
  op.domain = {{-3, 3}};
  op.type = type;
  op.source = source;
  op.gradient = gradient;
  op.examples = std::move(examples);
  return op;
}

/// Zeros of `like`'s kind with `extent` on `axis`; what a slice left out gets as gradient.
V zeros(V like, int axis, int extent) {
  return like.builder->constant(0, like.shape().with(axis, extent));
}

std::vector<V> slice_gradient(const GradientContext& c) {
  const V x = c.operands[0];
  const int axis = c.attributes.ints[0], begin = c.attributes.ints[1];
  const int length = c.result.shape()[axis], whole = x.shape()[axis];
  std::vector<V> parts;
  if (begin > 0) parts.push_back(zeros(x, axis, begin));
  parts.push_back(c.cotangent);
  if (begin + length < whole) parts.push_back(zeros(x, axis, whole - begin - length));
  return {x.builder->apply(OpId::concat, parts, {.ints = {axis, 0}})};
}

std::vector<V> concat_gradient(const GradientContext& c) {
  const int axis = c.attributes.ints[0];
  std::vector<V> gradients;
  int begin = 0;
  for (const V& part : c.operands) {
    gradients.push_back(c.cotangent.builder->apply(OpId::slice, {c.cotangent},
                                                   {.ints = {axis, begin}, .shape = part.shape()}));
    begin += part.shape()[axis];
  }
  return gradients;
}

Type concat_type(const ShapeContext& c) {
  const int axis = c.attributes.ints[0];
  check_axis(c, axis);
  std::int64_t extent = 0;
  for (std::size_t i = 0; i < c.operands.size(); ++i) {
    const Shape& shape = c.shape(int(i));
    c.check(c.operands[i].dtype == c.operands[0].dtype,
            "found numbers and indices, expected one kind: " + c.describe(0) + ", " +
                c.describe(int(i)));
    c.check(shape.rank() == c.shape(0).rank() && shape.without(axis) == c.shape(0).without(axis),
            "shapes differ beside the joined axis: " + c.describe(0) + ", " + c.describe(int(i)));
    extent += shape[axis];
  }
  return with_shape(c, c.shape(0).with(axis, extent));
}

std::vector<int> reshape_source(const MovementContext& m) {
  int flat = m.sink.constant(0);
  for (int axis = 0; axis < m.result.rank(); ++axis)
    flat = m.sink.add(m.sink.multiply(flat, m.result[axis]), m.coordinates[axis]);
  std::vector<int> source(m.source.rank());
  for (int axis = m.source.rank() - 1; axis >= 0; --axis) {
    const bool outermost = axis == 0;
    source[axis] = outermost ? flat : m.sink.modulo(flat, m.source[axis]);
    if (!outermost) flat = m.sink.divide(flat, m.source[axis]);
  }
  return source;
}

std::vector<int> broadcast_source(const MovementContext& m) {
  const int missing = m.result.rank() - m.source.rank();
  std::vector<int> source;
  for (int axis = 0; axis < m.source.rank(); ++axis)
    source.push_back(m.source[axis] == 1 ? m.sink.constant(0) : m.coordinates[axis + missing]);
  return source;
}

std::vector<V> broadcast_gradient(const GradientContext& c) {
  const Shape from = c.operands[0].shape();
  V g = c.cotangent;
  GraphBuilder& b = *g.builder;
  const int missing = c.result.shape().rank() - from.rank();
  for (int axis = c.result.shape().rank() - 1; axis >= 0; --axis)
    if (axis < missing || from[axis - missing] == 1)
      g = b.apply(OpId::sum, {g}, {.ints = {axis, 0}});
  return {b.apply(OpId::reshape, {g}, {.shape = from})};
}

}  // namespace

std::vector<Op> leaf_ops() {
  return {
      leaf({"port", OpId::port}, "field `field` of port `port`", {.ints = {"port", "field"}}),
      leaf({"param", OpId::param}, "a param", {.ints = {"param"}}),
      leaf({"constant", OpId::constant}, "`value` in every element",
           {.number = "value", .shape = true}),
      leaf({"iota", OpId::iota}, "0, 1, 2, … along its only axis, as indices", {.shape = true}),
      leaf({"dropout_mask", OpId::dropout_mask},
           "0 with probability `rate`, else 1 / (1 − rate); the `mask`-th mask of its cell",
           {.ints = {"mask"}, .number = "rate"}),
      leaf({"input", OpId::input},
           "field `field` of the numbers that were recorded with the instance (input cells)",
           {.ints = {"field"}}),
      leaf({"output", OpId::output}, "field `field` of the instance's own outputs (backward cells)",
           {.ints = {"field"}}),
      leaf({"cotangent", OpId::cotangent},
           "gradient of the loss by output field `field` (backward cells)", {.ints = {"field"}}),
      leaf({"residual", OpId::residual},
           "value `residual` kept by the forward kernel (backward cells)", {.ints = {"residual"}})};
}

std::vector<Op> reduction_ops() {
  std::vector<Op> ops = {
      reduction({"sum", OpId::sum}, "sum over axis `axis`", Combine::sum, false),
      reduction({"max_over", OpId::max_over},
                "largest along axis `axis`; equal maxima share the gradient evenly", Combine::max,
                false),
      reduction({"sum_children", OpId::sum_children}, "sum over the children; 0 without children",
                Combine::sum, true),
      reduction(
          {"max_children", OpId::max_children},
          "largest over the children, the lowest float without children; gradient as for max_over",
          Combine::max, true)};
  ops[0].gradient = sum_gradient<false>;
  ops[1].gradient = max_gradient<false>;
  ops[2].gradient = sum_gradient<true>;
  ops[3].gradient = max_gradient<true>;
  return ops;
}

std::vector<Op> movement_ops() {
  std::vector<Op> ops;
  ops.push_back(movement(
      {"slice", OpId::slice},
      "elements `begin`, begin + 1, … of axis `axis`, as many as `shape` says",
      {.ints = {"axis", "begin"}, .shape = true},
      [](const ShapeContext& c) {
        const std::int64_t axis = c.attributes.ints[0], begin = c.attributes.ints[1];
        check_axis(c, axis);
        const Shape& shape = c.attributes.shape;
        c.check(
            shape.rank() == c.shape(0).rank() && shape.without(axis) == c.shape(0).without(axis),
            fmt::format("cannot be cut to {}: {}", to_string(shape), c.describe(0)));
        c.check(begin >= 0 && begin + shape[axis] <= c.shape(0)[axis],
                fmt::format("elements {} to {} of axis {} do not exist: {}", begin,
                            begin + shape[axis] - 1, axis, c.describe(0)));
        return with_shape(c, shape);
      },
      [](const MovementContext& m) {
        std::vector<int> source(m.coordinates.begin(), m.coordinates.end());
        int& moved = source[m.attributes.ints[0]];
        moved = m.sink.add(moved, m.sink.constant(m.attributes.ints[1]));
        return source;
      },
      slice_gradient,
      {{{vec}, {.ints = {0, 2}, .shape = {3}}},
       {{mat}, {.ints = {1, 1}, .shape = {4, 4}}},
       {{mat}, {.ints = {0, 2}, .shape = {2, 6}}}}));
  ops.push_back(movement({"concat", OpId::concat},
                         "the operands one after another along axis `axis`", {.ints = {"axis"}},
                         concat_type, nullptr, concat_gradient,
                         {{{vec, vec}, {.ints = {0, 0}}},
                          {{mat, mat}, {.ints = {1, 0}}},
                          {{mat, mat, mat}, {.ints = {0, 0}}}}));
  ops.back().variadic = true;
  ops.back().assembles = true;
  ops.push_back(movement(
      {"reshape", OpId::reshape}, "the same elements in C order as `shape`", {.shape = true},
      [](const ShapeContext& c) {
        c.check(c.attributes.shape.size() == c.shape(0).size(),
                fmt::format("{} elements cannot be shaped as {}: {}", c.shape(0).size(),
                            to_string(c.attributes.shape), c.describe(0)));
        return with_shape(c, c.attributes.shape);
      },
      reshape_source,
      [](const GradientContext& c) -> std::vector<V> {
        return {c.cotangent.builder->apply(OpId::reshape, {c.cotangent},
                                           {.shape = c.operands[0].shape()})};
      },
      {{{vec}, {.shape = {2, 3}}}, {{mat}, {.shape = {24}}}, {{mat}, {.shape = {6, 4}}}}));
  ops.push_back(movement(
      {"transpose", OpId::transpose}, "a matrix with its axes exchanged", {},
      [](const ShapeContext& c) {
        c.check(c.shape(0).rank() == 2, "expected a matrix: " + c.describe(0));
        return with_shape(c, {c.shape(0)[1], c.shape(0)[0]});
      },
      [](const MovementContext& m) { return std::vector<int>{m.coordinates[1], m.coordinates[0]}; },
      [](const GradientContext& c) -> std::vector<V> {
        return {c.cotangent.builder->apply(OpId::transpose, {c.cotangent})};
      },
      {{{mat}, {}}}));
  ops.push_back(movement(
      {"broadcast", OpId::broadcast},
      "repeated to `shape`: axes aligned at the end, extents equal or 1", {.shape = true},
      [](const ShapeContext& c) {
        const Shape &from = c.shape(0), &to = c.attributes.shape;
        const int missing = to.rank() - from.rank();
        bool fits = missing >= 0;
        for (int axis = 0; fits && axis < from.rank(); ++axis)
          fits = from[axis] == 1 || from[axis] == to[axis + missing];
        c.check(fits, fmt::format("cannot be repeated to {}: {}", to_string(to), c.describe(0)));
        return with_shape(c, to);
      },
      broadcast_source, broadcast_gradient,
      {{{{DType::f32, {}, per_instance}}, {.shape = {7}}},
       {{vec}, {.shape = {4, 6}}},
       {{{DType::f32, {4, 1}, per_instance}}, {.shape = {4, 6}}}}));
  ops.push_back(movement(
      {"per_child", OpId::per_child},
      "a value of the instance, repeated for each child of Children port `port`",
      {.ints = {"port"}},
      [](const ShapeContext& c) -> Type {
        c.check(c.operands[0].children == per_instance,
                "already a value per child: " + c.describe(0));
        c.check(c.attributes.ints[0] >= 0 && c.attributes.ints[0] <= INT8_MAX,
                fmt::format("there is no port {}", c.attributes.ints[0]));
        return {c.operands[0].dtype, c.shape(0), static_cast<std::int8_t>(c.attributes.ints[0])};
      },
      [](const MovementContext& m) {
        return std::vector<int>(m.coordinates.begin(), m.coordinates.end());
      },
      [](const GradientContext& c) -> std::vector<V> {
        return {c.cotangent.builder->apply(OpId::sum_children, {c.cotangent})};
      },
      {{{vec}, {.ints = {0, 0}}}}));
  ops.push_back(movement(
      {"row", OpId::row}, "row `index` of x, such as an embedding matrix; of a vector, one element",
      {},
      [](const ShapeContext& c) {
        c.check(c.shape(0).rank() >= 1, "a scalar has no rows: " + c.describe(0));
        c.check(c.operands[1].dtype == DType::i32 && c.shape(1).rank() == 0 &&
                    c.operands[1].children == per_instance,
                "expected an index: " + c.describe(1));
        return Type{c.operands[0].dtype, c.shape(0).without_first(), c.operands[0].children};
      },
      [](const MovementContext& m) {
        std::vector<int> source{m.index};
        source.insert(source.end(), m.coordinates.begin(), m.coordinates.end());
        return source;
      },
      [](const GradientContext& c) -> std::vector<V> {
        GraphBuilder& b = *c.cotangent.builder;
        const V x = c.operands[0];
        V hot = b.apply(OpId::one_hot, {c.operands[1]}, {.shape = {x.shape()[0]}});
        if (x.shape().rank() == 1) return {hot * c.cotangent, V{}};
        return {b.apply(OpId::outer, {hot, c.cotangent}), V{}};
      },
      {{{vec, index_type}, {}}, {{mat, index_type}, {}}}));
  ops.back().operands = {"x", "index"};
  ops.back().domain = {{-3, 3}, {0, 3}};
  ops.back().takes_index = true;
  return ops;
}

}  // namespace espalier::ir
