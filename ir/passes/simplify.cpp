#include "ir/passes/simplify.h"

#include <algorithm>

#include "ir/op.h"
#include "ir/rebuild.h"

namespace espalier::ir {

Cell simplify(const Cell& cell) { return rebuild(cell, GraphBuilder::Mode::simplify); }

bool has_dropout(const Cell& cell) {
  return std::ranges::any_of(cell.graph.nodes(),
                             [](const Node& node) { return node.op->id == OpId::dropout_mask; });
}

Cell without_dropout(const Cell& cell) {
  return rebuild(cell, GraphBuilder::Mode::simplify,
                 [](GraphBuilder& builder, const Node& node, std::span<const Value>) {
                   return node.op->id == OpId::dropout_mask
                              ? builder.leaf(OpId::constant, node.type, {{}, 1, node.type.shape})
                              : Value{};
                 });
}

Cell without_stop_gradients(const Cell& cell) {
  return rebuild(cell, GraphBuilder::Mode::simplify,
                 [](GraphBuilder&, const Node& node, std::span<const Value> operands) {
                   return node.op->id == OpId::stop_gradient ? operands[0] : Value{};
                 });
}

}  // namespace espalier::ir
