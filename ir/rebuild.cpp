#include "ir/rebuild.h"

#include "ir/op.h"

namespace espalier::ir {

Value copy_node(GraphBuilder& builder, const Node& node, std::span<const Value> operands) {
  if (node.op->kind == OpClass::leaf) return builder.leaf(*node.op, node.type, node.attributes);
  return builder.apply(*node.op, operands, node.attributes);
}

std::vector<Value> copy_graph(GraphBuilder& builder, const Graph& graph, const Replace& replace) {
  std::vector<Value> copies;
  std::vector<Value> operands;
  for (const Node& node : graph.nodes()) {
    operands.clear();
    for (NodeId operand : node.operands) operands.push_back(copies[operand]);
    Value value = replace ? replace(builder, node, operands) : Value{};
    copies.push_back(value ? value : copy_node(builder, node, operands));
  }
  return copies;
}

Cell rebuild(const Cell& cell, GraphBuilder::Mode mode, const Replace& replace) {
  GraphBuilder builder(mode, "in cell '" + cell.name + "'");
  const std::vector<Value> copies = copy_graph(builder, cell.graph, replace);
  Cell result{cell.name, cell.ports, cell.state, {}, {}};
  for (NodeId output : cell.outputs) result.outputs.push_back(copies[output].id);
  result.graph = builder.finish(result.outputs);
  return result;
}

}  // namespace espalier::ir
