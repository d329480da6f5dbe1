#include "ir/evaluate.h"

#include <algorithm>
#include <cfloat>
#include <numeric>

#include "base/error.h"
#include "ir/op.h"

namespace espalier::ir {
namespace {

/// Coordinates as the numbers they are.
class Integers final : public CoordinateSink {
 public:
  int constant(std::int64_t value) override { return static_cast<int>(value); }
  int add(int a, int b) override { return a + b; }
  int multiply(int a, std::int64_t factor) override { return static_cast<int>(a * factor); }
  int divide(int a, std::int64_t divisor) override { return static_cast<int>(a / divisor); }
  int modulo(int a, std::int64_t divisor) override { return static_cast<int>(a % divisor); }
};

std::vector<int> coordinates(const Shape& shape, std::int64_t position) {
  std::vector<int> result(shape.rank());
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    result[axis] = static_cast<int>(position % shape[axis]);
    position /= shape[axis];
  }
  return result;
}

std::int64_t position(const Op& op, const Shape& shape, std::span<const int> coordinates) {
  std::int64_t result = 0;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    internal_check(coordinates[axis] >= 0 && coordinates[axis] < shape[axis],
                   "{} reads element {} of axis {} of {}", op.name, coordinates[axis], axis,
                   to_string(shape));
    result = result * shape[axis] + coordinates[axis];
  }
  return result;
}

/// The value of child `child`, or the instance's.
std::span<const double> part(const Array& array, int child) {
  const std::size_t size = array.shape.size();
  return {array.data.data() + (array.children < 0 ? 0 : child * size), size};
}

double combine(Combine how, double a, double b) {
  return how == Combine::sum ? a + b : scalar_functions::max(a, b);
}

double identity(Combine how) { return how == Combine::sum ? 0.0 : -FLT_MAX; }

using Operands = std::vector<const Array*>;

/// Evaluates one child's part (or the instance's) of a node into `out`.
void elementwise(const Node& node, const Operands& x, int child, std::span<double> out) {
  std::vector<double> arguments(x.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    for (std::size_t k = 0; k < x.size(); ++k) arguments[k] = part(*x[k], child)[i];
    out[i] = node.op->evaluate(arguments.data());
  }
}

void reduce_axis(const Node& node, const Operands& x, int child, std::span<double> out) {
  const int axis = node.attributes.ints[0];
  const Shape& from = x[0]->shape;
  std::int64_t inner = 1;  // elements between one step along the axis and the next
  for (int i = axis + 1; i < from.rank(); ++i) inner *= from[i];
  std::fill(out.begin(), out.end(), identity(node.op->combine));
  const auto in = part(*x[0], child);
  for (std::int64_t i = 0; i < from.size(); ++i) {
    double& sum = out[i / (inner * from[axis]) * inner + i % inner];
    sum = combine(node.op->combine, sum, in[i]);
  }
}

void move(const Node& node, const Operands& x, int child, std::span<double> out) {
  Integers integers;
  const Shape& shape = node.type.shape;
  const int index = node.op->takes_index ? static_cast<int>(part(*x[1], child)[0]) : -1;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto at = coordinates(shape, i);
    const auto from = node.op->source({integers, at, x[0]->shape, shape, node.attributes, index});
    out[i] = part(*x[0], child)[position(*node.op, x[0]->shape, from)];
  }
}

/// Operands end to end along an axis.
void assemble(const Node& node, const Operands& x, int child, std::span<double> out) {
  const int axis = node.attributes.ints[0];
  for (std::size_t i = 0; i < out.size(); ++i) {
    auto at = coordinates(node.type.shape, i);
    std::size_t k = 0;
    while (at[axis] >= x[k]->shape[axis]) at[axis] -= x[k++]->shape[axis];
    out[i] = part(*x[k], child)[position(*node.op, x[k]->shape, at)];
  }
}

/// [i…, k…] × [k…, j…] → [i…, j…], with `meeting` axes k.
void contract(const Node& node, const Operands& x, int child, std::span<double> out) {
  std::int64_t inner = 1, columns = 1;
  for (int axis = 0; axis < x[1]->shape.rank(); ++axis)
    (axis < node.op->meeting ? inner : columns) *= x[1]->shape[axis];
  const auto a = part(*x[0], child), b = part(*x[1], child);
  for (std::int64_t i = 0; i < std::int64_t(out.size()); ++i) {
    const std::int64_t row = i / columns, column = i % columns;
    out[i] = 0;
    for (std::int64_t k = 0; k < inner; ++k) out[i] += a[row * inner + k] * b[k * columns + column];
  }
}

void reduce_children(const Node& node, const Array& x, std::span<double> out) {
  std::fill(out.begin(), out.end(), identity(node.op->combine));
  for (int child = 0; child < x.children; ++child)
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = combine(node.op->combine, out[i], part(x, child)[i]);
}

std::vector<double> leaf_data(const Node& node, std::size_t size, const LeafData& leaf) {
  if (node.op->id == OpId::constant) return std::vector<double>(size, node.attributes.number);
  std::vector<double> data;
  if (node.op->id == OpId::iota) {
    data.resize(size);
    std::iota(data.begin(), data.end(), 0.0);
  } else {
    data = leaf(node);
  }
  internal_check(data.size() == size, "leaf '{}' of type {} has {} elements, expected {}",
                 node.op->name, to_string(node.type), data.size(), size);
  return data;
}

}  // namespace

std::vector<Array> evaluate(const Graph& graph, std::span<const int> children,
                            const LeafData& leaf) {
  std::vector<Array> values;
  values.reserve(graph.size());
  for (const Node& node : graph.nodes()) {
    Array result{node.type.shape, -1, {}};
    if (node.type.children != per_instance) result.children = children[node.type.children];
    const std::size_t size = result.shape.size();
    if (node.op->kind == OpClass::leaf) {
      result.data = leaf_data(node, size * result.count(), leaf);
      values.push_back(std::move(result));
      continue;
    }
    Operands operands;
    for (NodeId id : node.operands) operands.push_back(&values[id]);
    result.data.resize(size * result.count());
    for (int child = 0; child < result.count(); ++child) {
      const std::span<double> out(result.data.data() + child * size, size);
      switch (node.op->kind) {
        case OpClass::elementwise:
          elementwise(node, operands, child, out);
          break;
        case OpClass::reduction:
          if (node.op->over_children)
            reduce_children(node, *operands[0], out);
          else
            reduce_axis(node, operands, child, out);
          break;
        case OpClass::movement:
          if (node.op->assembles)
            assemble(node, operands, child, out);
          else
            move(node, operands, child, out);
          break;
        case OpClass::contraction:
          contract(node, operands, child, out);
          break;
        case OpClass::leaf:
        case OpClass::composite:
          throw InternalError("a composite op in a graph: " + std::string(node.op->name));
      }
    }
    values.push_back(std::move(result));
  }
  return values;
}

}  // namespace espalier::ir
