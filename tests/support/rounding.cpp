#include "tests/support/rounding.h"

#include <algorithm>

#include "ir/op.h"

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
      return node.op->name == "constant" && float(node.attributes.number) != node.attributes.number;
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

}  // namespace espalier::test
