#include "ir/fuse_contractions.h"

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
    if (node.op->name == "add") {
      std::vector<NodeId> products, others;
      collect(id, products, others);
      if (products.size() > 1) return fused(products, others);
    }
    std::vector<Value> operands;
    for (NodeId operand : node.operands) operands.push_back(copies_[operand]);
    return copy_node(builder_, node, operands);
  }

  /// The terms of a tree of additions that nobody else reads.
  void collect(NodeId id, std::vector<NodeId>& products, std::vector<NodeId>& others) const {
    for (NodeId term : cell_.graph[id].operands) {
      const Node& node = cell_.graph[term];
      if (uses_[term] > 1 || node.type != cell_.graph[id].type)
        others.push_back(term);
      else if (node.op->name == "add")
        collect(term, products, others);
      else if (is_weighted(node))
        products.push_back(term);
      else
        others.push_back(term);
    }
  }

  bool is_weighted(const Node& node) const {
    return node.op->name == "matmul" && node.type.shape.rank() == 1 &&
           is_shared(cell_.graph, node.operands[0]) && !is_shared(cell_.graph, node.operands[1]) &&
           cell_.graph[node.operands[1]].type.children == node.type.children;
  }

  Value fused(const std::vector<NodeId>& products, const std::vector<NodeId>& others) {
    std::vector<Value> weights, vectors;
    for (NodeId product : products) {
      weights.push_back(copies_[cell_.graph[product].operands[0]]);
      vectors.push_back(copies_[cell_.graph[product].operands[1]]);
    }
    const Op& concat = op("concat");
    Value sum = builder_.apply("matmul", {builder_.apply(concat, weights, {.ints = {1, 0}}),
                                          builder_.apply(concat, vectors, {.ints = {0, 0}})});
    for (NodeId other : others) sum = sum + copies_[other];
    return sum;
  }

  const Cell& cell_;
  GraphBuilder builder_;
  std::vector<int> uses_;
  std::vector<Value> copies_;
};

}  // namespace

Cell fuse_contractions(const Cell& cell) { return Fusion(cell).run(); }

}  // namespace espalier::ir
