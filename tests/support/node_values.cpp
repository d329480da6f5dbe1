#include "tests/support/node_values.h"

#include <algorithm>

#include "ir/op.h"

namespace espalier::test {

using namespace ir;

Array evaluate_node(const Node& node, std::span<const Array* const> operands,
                    std::span<const int> children) {
  // A graph of its own, whose leaves are the operands.
  static const Op& leaf = op(ir::OpId::port);
  std::vector<Node> nodes;
  Node last = node;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    Node operand{&leaf, {DType::f32, operands[i]->shape, per_instance}, {}, {.ints = {int(i), 0}}};
    if (operands[i]->children >= 0)
      operand.type.children =
          std::int8_t(node.type.children != per_instance
                          ? node.type.children
                          : std::ranges::find(children, operands[i]->children) - children.begin());
    nodes.push_back(std::move(operand));
    last.operands[i] = NodeId(i);
  }
  nodes.push_back(std::move(last));
  auto values = evaluate(Graph::unchecked(std::move(nodes)), children, [&](const Node& of) {
    return operands[std::size_t(of.attributes.ints[0])]->data;
  });
  return std::move(values.back());
}

}  // namespace espalier::test
