#include "tests/support/rounding.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "ir/op.h"
#include "tests/support/node_values.h"

namespace espalier::test {
namespace {

/// The roundings of the op itself.
double roundings(const ir::Node& node, const ir::Graph& graph, int children) {
  const ir::Op& op = *node.op;
  const auto operand_shape = [&] { return graph[node.operands[0]].type.shape; };
  switch (op.kind) {
    case ir::OpClass::elementwise:
      return 2 * op.ulp;
    case ir::OpClass::reduction:
      if (op.combine == ir::Combine::max) return 0;
      return double(op.over_children ? children : operand_shape()[node.attributes.ints[0]]);
    case ir::OpClass::contraction: {
      const ir::Shape shape = operand_shape();
      double terms = 1;
      for (int axis = shape.rank() - op.meeting; axis < shape.rank(); ++axis)
        terms *= double(shape[axis]);
      return terms;
    }
    case ir::OpClass::leaf:  // a number that kernels hold in single precision
      return node.op->id == ir::OpId::constant &&
             float(node.attributes.number) != node.attributes.number;
    case ir::OpClass::movement:
    case ir::OpClass::composite:
      return 0;
  }
  return 0;
}

}  // namespace

std::vector<double> rounding_depth(const ir::Graph& graph, int children, double of_leaves) {
  std::vector<double> depth;
  for (const ir::Node& node : graph.nodes()) {
    double deepest = node.operands.empty() ? of_leaves : 0;
    for (const ir::NodeId operand : node.operands)
      deepest = std::max(deepest, depth[std::size_t(operand)]);
    depth.push_back(deepest + roundings(node, graph, children));
  }
  return depth;
}

namespace {

/// The sum of the sizes of each element's terms: its own where it is no sum.
std::vector<double> sizes(const ir::Node& node, const ir::Array& value,
                          std::span<const ir::Array* const> operands,
                          std::span<const int> children) {
  std::vector<double> result = value.data;
  const bool sums =
      node.op->kind == ir::OpClass::contraction ||
      (node.op->kind == ir::OpClass::reduction && node.op->combine == ir::Combine::sum);
  if (sums) {
    std::vector<ir::Array> positive;
    for (const ir::Array* operand : operands) positive.push_back(*operand);
    std::vector<const ir::Array*> pointers;
    for (ir::Array& operand : positive) {
      for (double& x : operand.data) x = std::abs(x);
      pointers.push_back(&operand);
    }
    result = evaluate_node(node, pointers, children).data;
  }
  for (double& x : result) x = std::abs(x);
  return result;
}

/// A bit of a hash of these (the finalizer of SplitMix64).
bool coin(std::uint64_t salt, std::uint64_t op, double value) {
  std::uint64_t x =
      std::bit_cast<std::uint64_t>(value) + salt * 0x9e3779b97f4a7c15 + op * 0x632be5ab;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return ((x ^ (x >> 31)) & 1) != 0;
}

/// The float above or below; `x` itself if it is one.
double neighbour(double x, bool above) {
  const float nearest = float(x);
  if (double(nearest) == x || (nearest > x) == above) return nearest;
  return std::nextafter(nearest, above ? HUGE_VALF : -HUGE_VALF);
}

}  // namespace

std::vector<ir::Array> evaluate_rounded(const ir::Graph& graph, std::span<const int> children,
                                        const ir::LeafData& leaf, std::uint64_t salt) {
  std::vector<ir::Array> values;
  values.reserve(std::size_t(graph.size()));
  for (const ir::Node& node : graph.nodes()) {
    if (node.op->kind == ir::OpClass::leaf) {
      values.push_back(
          std::move(ir::evaluate(ir::Graph::unchecked({node}), children, leaf).front()));
      if (node.op->id == ir::OpId::constant)  // kernels hold it in single precision
        for (double& x : values.back().data) x = float(x);
      continue;
    }
    std::vector<const ir::Array*> operands;
    for (const ir::NodeId id : node.operands) operands.push_back(&values[std::size_t(id)]);
    ir::Array value = evaluate_node(node, operands, children);
    const int terms = node.op->over_children ? operands[0]->children : 0;
    const double count = roundings(node, graph, terms);
    if (count > 0 && node.type.dtype == ir::DType::f32) {
      const std::vector<double> size = sizes(node, value, operands, children);
      const auto number = std::uint64_t(node.op - ir::ops().data());
      for (std::size_t i = 0; i < size.size(); ++i) {
        const bool up = coin(salt, number, value.data[i]);
        const double error = count * kRounding * size[i];
        value.data[i] =
            salt % 2 == 0 ? neighbour(value.data[i], up) : value.data[i] + (up ? error : -error);
      }
    }
    values.push_back(std::move(value));
  }
  return values;
}

}  // namespace espalier::test
