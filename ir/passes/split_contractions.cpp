#include "ir/passes/split_contractions.h"

#include "ir/op.h"
#include "ir/rebuild.h"

namespace espalier::ir {
namespace {

bool is_slice(const Node& node) { return node.op->id == OpId::slice; }

/// Whether each node is a contraction of weights and a vector whose only readers are slices of
/// different lengths.
std::vector<bool> uneven_contractions(const Graph& graph, const std::vector<NodeId>& targets) {
  std::vector<bool> contraction(graph.size(), false), uneven(graph.size(), false);
  std::vector<std::int32_t> length(graph.size(), 0);
  for (NodeId id = 0; id < graph.size(); ++id) {
    const Node& node = graph[id];
    contraction[id] = node.op->id == OpId::matmul && node.type.shape.rank() == 1 &&
                      is_shared(graph, node.operands[0]) && !is_shared(graph, node.operands[1]);
    for (const NodeId operand : node.operands) {
      if (!is_slice(node)) contraction[operand] = false;
      if (!contraction[operand]) continue;
      const std::int32_t n = node.type.shape[0];
      if (length[operand] == 0) length[operand] = n;
      if (n != length[operand] || node.attributes.ints[1] % n != 0) uneven[operand] = true;
    }
  }
  for (const NodeId target : targets) contraction[target] = false;
  for (NodeId id = 0; id < graph.size(); ++id) uneven[id] = uneven[id] && contraction[id];
  return uneven;
}

}  // namespace

BackwardCell split_contractions(const BackwardCell& cell) {
  BackwardCell result = cell;
  std::vector<NodeId*> outputs;  // of the new graph
  for (ChildGradient& gradient : result.child_gradients) outputs.push_back(&gradient.output);
  for (ParamContribution& c : result.contributions) {
    outputs.push_back(&c.left);
    if (c.right >= 0) outputs.push_back(&c.right);
  }
  std::vector<NodeId> targets;
  for (const NodeId* output : outputs) targets.push_back(*output);

  const std::vector<bool> uneven = uneven_contractions(cell.graph, targets);
  GraphBuilder builder;
  const auto split = [&](GraphBuilder& b, const Node& node, std::span<const Value> operands) {
    if (!is_slice(node) || !uneven[node.operands[0]]) return Value{};
    const Node contraction = operands[0].node();  // a copy: the builder's list grows
    if (contraction.op->id != OpId::matmul) return Value{};
    const Value weights = b.value(contraction.operands[0]), x = b.value(contraction.operands[1]);
    const Shape rows = weights.shape().with(0, node.type.shape[0]);
    const Value part =
        b.apply(OpId::slice, {weights}, {.ints = {0, node.attributes.ints[1]}, .shape = rows});
    return b.apply(OpId::matmul, {part, x});
  };
  const std::vector<Value> copies = copy_graph(builder, cell.graph, split);
  for (NodeId& target : targets) target = copies[target].id;
  result.graph = builder.finish(targets);
  for (std::size_t i = 0; i < outputs.size(); ++i) *outputs[i] = targets[i];
  return result;
}

}  // namespace espalier::ir
