// Composite ops: written with other ops and expanded when they are added to a graph, so that shape
// rules, gradients and kernels come from their parts.
#include <algorithm>

#include "base/error.h"
#include "ir/op.h"

namespace espalier::ir {
namespace {

using V = Value;

const Type vec{DType::f32, {6}, per_instance};
const Type mat{DType::f32, {4, 6}, per_instance};
const Type scalar{DType::f32, {}, per_instance};
const Type index_type{DType::i32, {}, per_instance};
const Type vec_per_child{DType::f32, {6}, 0};

using Expand = V (*)(GraphBuilder&, std::span<const V>, const Attributes&);

Op composite(OpName name, std::string_view summary, std::vector<std::string_view> operands,
             Type (*type)(const ShapeContext&), Expand expand, std::vector<Op::Example> examples,
             double ulp, AttributeNames attributes = {}) {
  Op op;
  op.name = name.text;
  op.id = name.id;
  op.kind = OpClass::composite;
  op.summary = summary;
  op.domain.assign(operands.size(), Interval{-3, 3});
  op.operands = std::move(operands);
  op.attributes = attributes;
  op.type = type;
  op.expand = expand;
  op.examples = std::move(examples);
  op.ulp = ulp;
  return op;
}

/// A number of that shape, per child if one of the operands is.
Type number(const ShapeContext& c, const Shape& shape) {
  std::int8_t children = per_instance;
  for (const Type& operand : c.operands) children = std::max(children, operand.children);
  return {DType::f32, shape, children};
}

Type same(const ShapeContext& c) {
  c.check_number(0);
  return c.operands[0];
}

Type last_axis(const ShapeContext& c) {
  c.check_number(0);
  c.check(c.shape(0).rank() >= 1, "a scalar has no axis: " + c.describe(0));
  return c.operands[0];
}

Type over_children(const ShapeContext& c) {
  c.check_number(0);
  c.check(c.operands[0].children != per_instance, "expected a value per child: " + c.describe(0));
  return c.operands[0];
}

/// Of an op that is written with element-wise ones, which broadcast.
Type element_by_element(const ShapeContext& c) {
  for (int i = 0; i < int(c.operands.size()); ++i) c.check_number(i);
  return number(c, broadcast_shape(c));
}

/// `op` over the last axis of x, with that axis kept at extent 1.
V over_last(V x, OpId op) {
  const int axis = x.shape().rank() - 1;
  const V reduced = x.builder->apply(op, {x}, {.ints = {axis, 0}});
  return x.builder->apply(OpId::reshape, {reduced}, {.shape = x.shape().with(axis, 1)});
}

/// What e^x is taken of in a softmax, whose gradient does not depend on the shift.
V shift(V x, V largest) { return x - x.builder->apply(OpId::stop_gradient, {largest}); }

V shifted(V x) { return shift(x, over_last(x, OpId::max_over)); }

V log_softmax(V x) {
  const V y = shifted(x);
  return y - log(over_last(exp(y), OpId::sum));
}

V mean_last(V x) { return over_last(x, OpId::sum) * (1.0 / x.shape()[x.shape().rank() - 1]); }

V children_count(V x) {
  const V one =
      x.builder->apply(OpId::per_child, {x.builder->constant(1)}, {.ints = {x.type().children, 0}});
  const V count = x.builder->apply(OpId::sum_children, {one});
  return x.builder->apply(OpId::max, {count, x.builder->constant(1)});
}

V bilinear(GraphBuilder& b, V form, V x, V y) {
  const Shape& shape = form.shape();
  const std::int64_t pairs = std::int64_t(shape[1]) * shape[2];
  const V flat = b.apply(OpId::reshape, {form}, {.shape = {shape[0], pairs}});
  const V products = b.apply(OpId::reshape, {b.apply(OpId::outer, {x, y})}, {.shape = {pairs}});
  return b.apply(OpId::matmul, {flat, products});
}

V layer_norm(V x, V gain, V bias) {
  const V centred = x - mean_last(x);
  const V deviation = sqrt(mean_last(centred * centred) + 1e-5);
  return centred / deviation * gain + bias;
}

V dropout(GraphBuilder& b, V x, double rate) {
  if (rate == 0) return x;
  int masks = 0;  // each call of a cell's body draws a mask of its own
  for (NodeId id = 0; id < b.size(); ++id) masks += b.node(id).op->id == OpId::dropout_mask;
  const V mask = b.leaf(OpId::dropout_mask, x.type(), {.ints = {masks, 0}, .number = rate});
  return x * mask;
}

}  // namespace

std::vector<Op> composite_ops() {
  std::vector<Op> ops = {
      composite(
          "softmax", "eˣ / Σ eˣ over the last axis", {"x"}, last_axis,
          [](GraphBuilder&, std::span<const V> x, const Attributes&) {
            const V e = exp(shifted(x[0]));
            return e / over_last(e, OpId::sum);
          },
          {{{vec}, {}}, {{mat}, {}}}, 16),
      composite(
          "log_softmax", "x − log Σ eˣ over the last axis", {"x"}, last_axis,
          [](GraphBuilder&, std::span<const V> x, const Attributes&) { return log_softmax(x[0]); },
          {{{vec}, {}}, {{mat}, {}}}, 32),
      composite(
          "softmax_children", "eˣ / Σ eˣ over the children, element by element", {"x"},
          over_children,
          [](GraphBuilder& b, std::span<const V> x, const Attributes&) {
            const V e = exp(shift(x[0], b.apply(OpId::max_children, {x[0]})));
            return e / b.apply(OpId::sum_children, {e});
          },
          {{{vec_per_child}, {}}}, 16),
      composite(
          "mean", "mean over axis `axis`", {"x"},
          [](const ShapeContext& c) -> Type {
            const int axis = c.attributes.ints[0];
            c.check_number(0);
            c.check(axis >= 0 && axis < c.shape(0).rank(),
                    fmt::format("axis {} does not exist: {}", axis, c.describe(0)));
            return number(c, c.shape(0).without(axis));
          },
          [](GraphBuilder& b, std::span<const V> x, const Attributes& a) {
            const double extent = x[0].shape()[a.ints[0]];
            return b.apply(OpId::sum, {x[0]}, {.ints = a.ints}) * (1.0 / extent);
          },
          {{{vec}, {}}, {{mat}, {.ints = {1, 0}}}}, 8, {.ints = {"axis"}}),
      composite(
          "mean_children", "mean over the children; 0 without children", {"x"},
          [](const ShapeContext& c) -> Type {
            return {DType::f32, over_children(c).shape, per_instance};
          },
          [](GraphBuilder& b, std::span<const V> x, const Attributes&) {
            return b.apply(OpId::sum_children, {x[0]}) / children_count(x[0]);
          },
          {{{vec_per_child}, {}}}, 8),
      composite(
          {"one_hot", OpId::one_hot}, "1 at `index`, 0 elsewhere; `shape` is [n]", {"index"},
          [](const ShapeContext& c) -> Type {
            c.check(c.operands[0].dtype == DType::i32 && c.shape(0).rank() == 0,
                    "expected an index: " + c.describe(0));
            c.check(c.attributes.shape.rank() == 1,
                    "expected one axis, found the shape " + to_string(c.attributes.shape));
            return {DType::f32, c.attributes.shape, c.operands[0].children};
          },
          [](GraphBuilder& b, std::span<const V> x, const Attributes& a) {
            const V iota =
                b.leaf(OpId::iota, {DType::i32, a.shape, per_instance}, {.shape = a.shape});
            return equal(iota, x[0]);
          },
          {{{index_type}, {.shape = {7}}}}, 0, {.shape = true}),
      composite(
          "cross_entropy", "−log softmax(logits)[label]", {"logits", "label"},
          [](const ShapeContext& c) -> Type {
            c.check_number(0);
            c.check(c.shape(0).rank() == 1, "expected a vector: " + c.describe(0));
            c.check(c.operands[1].dtype == DType::i32 && c.shape(1).rank() == 0 &&
                        c.operands[1].children == per_instance,
                    "expected an index: " + c.describe(1));
            return number(c, {});
          },
          [](GraphBuilder& b, std::span<const V> x, const Attributes&) {
            return -b.apply(OpId::row, {log_softmax(x[0]), x[1]});
          },
          {{{vec, index_type}, {}}}, 32),
      composite(
          "binary_cross_entropy",
          "softplus(logit) − target · logit, element by element; target in 0 … 1",
          {"logit", "target"}, element_by_element,
          [](GraphBuilder& b, std::span<const V> x, const Attributes&) {
            return b.apply(OpId::softplus, {x[0]}) - x[1] * x[0];
          },
          {{{vec, vec}, {}}, {{scalar, scalar}, {}}}, 16),
      composite(
          "squared_error", "(a − b)², element by element", {"a", "b"}, element_by_element,
          [](GraphBuilder&, std::span<const V> x, const Attributes&) {
            const V difference = x[0] - x[1];
            return difference * difference;
          },
          {{{vec, vec}, {}}}, 2),
      composite(
          "layer_norm",
          "(x − mean) / √(variance + 1e-5) · gain + bias over the last axis (Ba et al. 2016)",
          {"x", "gain", "bias"},
          [](const ShapeContext& c) -> Type {
            const Type type = last_axis(c);
            const Shape last{type.shape[type.shape.rank() - 1]};
            c.check(c.shape(1) == last && c.shape(2) == last,
                    fmt::format("gain and bias must be {}: {}, {}", to_string(last), c.describe(1),
                                c.describe(2)));
            c.check_number(1);
            c.check_number(2);
            return number(c, type.shape);
          },
          [](GraphBuilder&, std::span<const V> x, const Attributes&) {
            return layer_norm(x[0], x[1], x[2]);
          },
          {{{vec, vec, vec}, {}}, {{mat, vec, vec}, {}}}, 64),
      composite(
          "bilinear", "xᵀ · form[i] · y for each i: [m, a, b] × [a] × [b] → [m] (RNTN)",
          {"form", "x", "y"},
          [](const ShapeContext& c) -> Type {
            c.check(c.shape(0).rank() == 3 && c.shape(1).rank() == 1 && c.shape(2).rank() == 1,
                    "expected [m, a, b], [a], [b]: " + c.describe(0) + ", " + c.describe(1) + ", " +
                        c.describe(2));
            c.check(c.shape(0)[1] == c.shape(1)[0] && c.shape(0)[2] == c.shape(2)[0],
                    "inner dimensions differ: " + c.describe(0) + ", " + c.describe(1) + ", " +
                        c.describe(2));
            for (int i = 0; i < 3; ++i) c.check_number(i);
            return number(c, {c.shape(0)[0]});
          },
          [](GraphBuilder& b, std::span<const V> x, const Attributes&) {
            return bilinear(b, x[0], x[1], x[2]);
          },
          {{{{DType::f32, {3, 4, 5}, per_instance},
             {DType::f32, {4}, per_instance},
             {DType::f32, {5}, per_instance}},
            {}}},
          1),
      composite(
          {"dropout", OpId::dropout},
          "each element of x / (1 − `rate`) with probability 1 − `rate`, else 0; outside training "
          "x "
          "itself (Srivastava et al. 2014)",
          {"x"},
          [](const ShapeContext& c) {
            c.check(c.attributes.number >= 0 && c.attributes.number < 1,
                    fmt::format("the rate must lie in [0, 1), found {}", c.attributes.number));
            return same(c);
          },
          [](GraphBuilder& b, std::span<const V> x, const Attributes& a) {
            return dropout(b, x[0], a.number);
          },
          {{{vec}, {.number = 0.4}}}, 1, {.number = "rate"}),
  };
  for (Op& op : ops) {
    op.broadcasts = op.type == element_by_element;
    for (std::size_t i = 0; i < op.operands.size(); ++i)
      if (op.operands[i] == "index" || op.operands[i] == "label") op.domain[i] = {0, 5};
  }
  return ops;
}

}  // namespace espalier::ir
