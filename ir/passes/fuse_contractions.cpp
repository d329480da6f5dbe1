#include "ir/passes/fuse_contractions.h"

#include <algorithm>

#include "ir/op.h"
#include "ir/rebuild.h"

namespace espalier::ir {
namespace {

class Fusion {
 public:
  explicit Fusion(const Cell& cell)
      : cell_(cell), builder_(GraphBuilder::Mode::record, "in cell '" + cell.name + "'") {
    uses_.assign(cell.graph.size(), 0);
    for (const Node& node : cell.graph.nodes())
      for (NodeId operand : node.operands) ++uses_[operand];
    for (NodeId output : cell.outputs) ++uses_[output];
    inner_.assign(cell.graph.size(), false);
    for (const Node& node : cell.graph.nodes())
      if (is_add(node))
        for (NodeId term : node.operands)
          inner_[term] = is_add(cell.graph[term]) && joins(term, node);
  }

  Cell run() {
    for (NodeId id = 0; id < cell_.graph.size(); ++id) copies_.push_back(copy(id));
    Cell result{cell_.name, cell_.ports, cell_.state, {}, {}};
    for (NodeId output : cell_.outputs) result.outputs.push_back(copies_[output].id);
    result.graph = builder_.finish(result.outputs);
    return result;
  }

 private:
  Value copy(NodeId id) {
    const Node& node = cell_.graph[id];
    if (is_add(node) && !inner_[id]) {
      std::vector<NodeId> products, others;
      collect(id, products, others);
      if (products.size() > 1) return fused(products, others);
    }
    std::vector<Value> operands;
    for (NodeId operand : node.operands) operands.push_back(copies_[operand]);
    return copy_node(builder_, node, operands);
  }

  static bool is_add(const Node& node) { return node.op->id == OpId::add; }

  /// Whether the term belongs to the sum alone.
  bool joins(NodeId term, const Node& sum) const {
    return uses_[term] == 1 && cell_.graph[term].type == sum.type;
  }

  /// The terms of a tree of additions that nobody else reads, from left to right.
  void collect(NodeId root, std::vector<NodeId>& products, std::vector<NodeId>& others) const {
    const Node& sum = cell_.graph[root];
    std::vector<NodeId> waiting{sum.operands.rbegin(), sum.operands.rend()};
    while (!waiting.empty()) {
      const NodeId term = waiting.back();
      waiting.pop_back();
      const Node& node = cell_.graph[term];
      if (inner_[term])
        waiting.insert(waiting.end(), node.operands.rbegin(), node.operands.rend());
      else if (joins(term, sum) && is_weighted(node))
        products.push_back(term);
      else
        others.push_back(term);
    }
  }

  bool is_weighted(const Node& node) const {
    return node.op->id == OpId::matmul && node.type.shape.rank() == 1 &&
           is_shared(cell_.graph, node.operands[0]) && !is_shared(cell_.graph, node.operands[1]) &&
           cell_.graph[node.operands[1]].type.children == node.type.children;
  }

  Value fused(const std::vector<NodeId>& products, const std::vector<NodeId>& others) {
    std::vector<Value> weights, vectors;
    for (NodeId product : products) {
      weights.push_back(copies_[cell_.graph[product].operands[0]]);
      vectors.push_back(copies_[cell_.graph[product].operands[1]]);
    }
    Value sum =
        builder_.apply(OpId::matmul, {builder_.apply(OpId::concat, weights, {.ints = {1, 0}}),
                                      builder_.apply(OpId::concat, vectors, {.ints = {0, 0}})});
    for (NodeId other : others) sum = sum + copies_[other];
    return sum;
  }

  const Cell& cell_;
  GraphBuilder builder_;
  std::vector<int> uses_;
  std::vector<bool> inner_;  // additions that belong to another one
  std::vector<Value> copies_;
};

}  // namespace

Cell fuse_contractions(const Cell& cell) { return Fusion(cell).run(); }

}  // namespace espalier::ir
