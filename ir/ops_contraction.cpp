// Contractions: ops in which every number of one operand meets several of the other.
#include <algorithm>

#include "ir/op.h"

namespace espalier::ir {
namespace {

using V = Value;

const Type vec{DType::f32, {6}, per_instance};
const Type mat{DType::f32, {4, 6}, per_instance};

Type matmul_type(const ShapeContext& c) {
  c.check_number(0);
  c.check_number(1);
  const Shape &a = c.shape(0), &x = c.shape(1);
  const bool ranks =
      (a.rank() == 2 && (x.rank() == 1 || x.rank() == 2)) || (a.rank() == 1 && x.rank() == 1);
  c.check(ranks, "expected [m, k] × [k], [m, k] × [k, n] or [k] × [k]: " + c.describe(0) + ", " +
                     c.describe(1));
  c.check(a[a.rank() - 1] == x[0],
          "inner dimensions differ: " + c.describe(0) + ", " + c.describe(1));
  Shape shape;
  if (a.rank() == 2) shape = x.rank() == 2 ? Shape{a[0], x[1]} : Shape{a[0]};
  return {DType::f32, shape, std::max(c.operands[0].children, c.operands[1].children)};
}

std::vector<V> matmul_gradient(const GradientContext& c) {
  const V a = c.operands[0], x = c.operands[1], g = c.cotangent;
  GraphBuilder& b = *g.builder;
  if (a.shape().rank() == 1) return {g * x, g * a};
  const V transposed = b.apply(OpId::transpose, {a});
  if (x.shape().rank() == 1)
    return {b.apply(OpId::outer, {g, x}), b.apply(OpId::matmul, {transposed, g})};
  return {b.apply(OpId::matmul, {g, b.apply(OpId::transpose, {x})}),
          b.apply(OpId::matmul, {transposed, g})};
}

Type outer_type(const ShapeContext& c) {
  c.check_number(0);
  c.check_number(1);
  c.check(c.shape(0).rank() == 1, "expected a vector: " + c.describe(0));
  c.check(c.shape(1).rank() < Shape::max_rank, "too many axes: " + c.describe(1));
  return {DType::f32, c.shape(1).prepend(c.shape(0)[0]),
          std::max(c.operands[0].children, c.operands[1].children)};
}

std::vector<V> outer_gradient(const GradientContext& c) {
  const V x = c.operands[0], y = c.operands[1], g = c.cotangent;
  GraphBuilder& b = *g.builder;
  const std::int64_t inner = y.shape().size();
  const V flat = b.apply(OpId::reshape, {g}, {.shape = {x.shape()[0], inner}});
  const V flat_y = b.apply(OpId::reshape, {y}, {.shape = {inner}});
  const V gx = b.apply(OpId::matmul, {flat, flat_y});
  const V gy = b.apply(OpId::matmul, {b.apply(OpId::transpose, {flat}), x});
  return {gx, b.apply(OpId::reshape, {gy}, {.shape = y.shape()})};
}

}  // namespace

std::vector<Op> contraction_ops() {
  Op matmul;
  matmul.name = "matmul";
  matmul.id = OpId::matmul;
  matmul.kind = OpClass::contraction;
  matmul.summary = "[m, k] × [k] → [m], [m, k] × [k, n] → [m, n], [k] × [k] → scalar";
  matmul.operands = {"a", "b"};
  matmul.domain = {{-1, 1}, {-1, 1}};
  matmul.ulp = 1;
  matmul.meeting = 1;
  matmul.type = matmul_type;
  matmul.gradient = matmul_gradient;
  const Type wide{DType::f32, {6, 5}, per_instance};
  matmul.examples = {{{mat, vec}, {}}, {{mat, wide}, {}}, {{vec, vec}, {}}};
  Op outer;
  outer.name = "outer";
  outer.id = OpId::outer;
  outer.kind = OpClass::contraction;
  outer.summary = "[m] × [n, …] → [m, n, …], the product of every pair";
  outer.operands = {"a", "b"};
  outer.domain = {{-3, 3}, {-3, 3}};
  outer.ulp = 0.5;
  outer.type = outer_type;
  outer.gradient = outer_gradient;
  outer.examples = {{{vec, vec}, {}}, {{vec, mat}, {}}};
  return {matmul, outer};
}

}  // namespace espalier::ir
