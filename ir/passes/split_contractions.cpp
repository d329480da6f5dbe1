#include "ir/passes/split_contractions.h"

#include "ir/op.h"
#include "ir/rebuild.h"

namespace espalier::ir {
namespace {

bool is_slice(const Node& node) { return node.op->id == OpId::slice; }

/// Whether each node is a product of weights and a vector, read in slices of different lengths and
/// in no other way.
std::vector<bool> uneven_products(const Graph& graph, const std::vector<NodeId>& targets) {
  std::vector<bool> product(graph.size(), false), uneven(graph.size(), false);
  std::vector<std::int32_t> length(graph.size(), 0);
  for (NodeId id = 0; id < graph.size(); ++id) {
    const Node& node = graph[id];
    product[id] = node.op->id == OpId::matmul && node.type.shape.rank() == 1 &&
                  is_shared(graph, node.operands[0]) && !is_shared(graph, node.operands[1]);
    for (const NodeId operand : node.operands) {
      if (!is_slice(node)) product[operand] = false;
      if (!product[operand]) continue;
      const std::int32_t n = node.type.shape[0];
      if (length[operand] == 0) length[operand] = n;
      if (n != length[operand] || node.attributes.ints[1] % n != 0) uneven[operand] = true;
    }
  }
  for (const NodeId target : targets) product[target] = false;
  for (NodeId id = 0; id < graph.size(); ++id) uneven[id] = uneven[id] && product[id];
  return uneven;
}

}  // namespace

Graph split_contractions(const Graph& graph, std::vector<NodeId>& targets,
                         const std::string& context) {
  const std::vector<bool> uneven = uneven_products(graph, targets);
  GraphBuilder builder(GraphBuilder::Mode::simplify, context);
  const auto split = [&](GraphBuilder& b, const Node& node, std::span<const Value> operands) {
    if (!is_slice(node) || !uneven[node.operands[0]]) return Value{};
    const Node product = operands[0].node();  // a copy: the builder's list grows
    if (product.op->id != OpId::matmul) return Value{};
    const Value weights = b.value(product.operands[0]), x = b.value(product.operands[1]);
    const Shape rows = weights.shape().with(0, node.type.shape[0]);
    const Value part =
        b.apply(OpId::slice, {weights}, {.ints = {0, node.attributes.ints[1]}, .shape = rows});
    return b.apply(OpId::matmul, {part, x});
  };
  const std::vector<Value> copies = copy_graph(builder, graph, split);
  for (NodeId& target : targets) target = copies[target].id;
  return builder.finish(targets);
}

}  // namespace espalier::ir
