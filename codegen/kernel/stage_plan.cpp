#include "codegen/kernel/stage_plan.h"

#include <algorithm>

#include "base/error.h"
#include "codegen/kernel/pieces.h"
#include "ir/op.h"

namespace espalier::codegen {
namespace {

using ir::Graph;
using ir::Node;
using ir::NodeId;
using ir::OpClass;
using ir::OpId;

class Planner {
 public:
  Planner(const Graph& graph, std::span<const NodeId> outputs, const Target& target)
      : graph_(graph),
        target_(target),
        users_(graph.size()),
        is_output_(graph.size(), false),
        moves_(graph.size(), 0) {
    for (NodeId id = 0; id < graph.size(); ++id)
      for (NodeId operand : graph[id].operands) users_[operand].push_back(id);
    for (NodeId output : outputs) is_output_[output] = true;
    plan_.treatment.assign(graph.size(), Treatment::view);
    plan_.stage.assign(graph.size(), -1);
    plan_.stored.assign(graph.size(), false);
    plan_.whole.assign(graph.size(), false);
    plan_.gates.assign(graph.size(), 1);
  }

  StagePlan run() {
    for (NodeId id = 0; id < graph_.size(); ++id) treat(id);
    for (NodeId id = 0; id < graph_.size(); ++id) place(id);
    for (std::size_t s = 0; s < plan_.stages.size(); ++s)
      for (NodeId item : plan_.stages[s].items) mark_reads(item, int(s));
    return std::move(plan_);
  }

 private:
  Treatment& treatment(NodeId id) { return plan_.treatment[id]; }

  void treat(NodeId id) {
    const Node& node = graph_[id];
    switch (node.op->kind) {
      case OpClass::leaf:
        return;
      case OpClass::movement:
        if (node.op->assembles) {
          if (!only_weights(id)) treatment(id) = Treatment::assembled;
          return;
        }
        for (NodeId operand : node.operands) moves_[id] = std::max(moves_[id], moves_[operand] + 1);
        if (node.type.dtype != ir::DType::f32) return;
        if (!is_transposed_factor(id) && (moves_[id] < most_moves || ir::is_shared(graph_, id)))
          return;
        treatment(id) = Treatment::computed;
        moves_[id] = 0;
        return;
      case OpClass::elementwise:
        treatment(id) = only_reduced(id) ? Treatment::inlined : Treatment::computed;
        return;
      case OpClass::contraction:
        if (is_tile(node)) {
          treatment(id) = Treatment::tile;
          plan_.gates[id] = count_gates(id);
          return;
        }
        [[fallthrough]];
      case OpClass::reduction:
        treatment(id) = Treatment::computed;
        return;
      case OpClass::composite:
        break;
    }
    internal_check(false, "'{}' cannot be lowered", node.op->name);
  }

  /// A transposed matrix that is only the right factor of matrix products. Storing it transposed,
  /// once for all its elements, costs less than reading a column for each element of a product. Not
  /// what all instances share: each of them would store a copy.
  bool is_transposed_factor(NodeId id) const {
    return graph_[id].op->id == OpId::transpose && !ir::is_shared(graph_, id) &&
           !users_[id].empty() && std::ranges::all_of(users_[id], [&](NodeId user) {
             return graph_[user].op->id == OpId::matmul && graph_[user].operands[1] == id;
           });
  }

  /// Read once, by a reduction: computing it there saves storing it.
  bool only_reduced(NodeId id) const {
    return !is_output_[id] && users_[id].size() == 1 &&
           graph_[users_[id][0]].op->kind == OpClass::reduction;
  }

  /// Read by contractions as weights only, so that the packing absorbs it.
  bool only_weights(NodeId id) const {
    return ir::is_shared(graph_, id) && !is_output_[id] &&
           std::ranges::all_of(users_[id], [&](NodeId user) {
             const Node& node = graph_[user];
             if (node.op->kind == OpClass::movement) return only_weights(user);
             return is_tile(node) && node.operands[0] == id;
           });
  }

  bool is_tile(const Node& node) const {
    if (node.op->id != OpId::matmul || node.type.shape.rank() != 1) return false;
    return !ir::is_shared(graph_, node.operands[1]) &&
           graph_[node.operands[1]].type.children == node.type.children &&
           weight_blocks(graph_, node.operands[0]).has_value();
  }

  /// m / n if all readers are slices of n elements at multiples of n, else 1.
  int count_gates(NodeId id) const {
    if (is_output_[id] || users_[id].empty()) return 1;
    const int m = graph_[id].type.shape[0];
    const int n = graph_[users_[id][0]].type.shape.rank() ? graph_[users_[id][0]].type.shape[0] : m;
    for (NodeId user : users_[id]) {
      const Node& slice = graph_[user];
      if (slice.op->id != OpId::slice || slice.type.shape[0] != n ||
          slice.attributes.ints[1] % n != 0)
        return 1;
    }
    return m % n == 0 && m / n <= max_gates(target_) ? m / n : 1;
  }

  bool is_gate(const Node& node) const {
    return node.op->id == OpId::slice && plan_.treatment[node.operands[0]] == Treatment::tile &&
           plan_.gates[node.operands[0]] > 1;
  }

  /// The first stage in which the value can be read: its own if `same_place` (the same coordinate
  /// of the same domain), else one behind it.
  int ready(NodeId id, bool same_place) const {
    const Node& node = graph_[id];
    switch (plan_.treatment[id]) {
      case Treatment::computed:
      case Treatment::tile:
        return plan_.stage[id] + (same_place ? 0 : 1);
      case Treatment::view:
        if (is_gate(node)) return ready(node.operands[0], same_place);
        break;
      case Treatment::assembled: {
        if (!plan_.stored[id]) break;
        int stage = 0;
        for (NodeId part : node.operands)
          stage =
              std::max(stage, plan_.stage[part] < 0 ? ready(part, false) : plan_.stage[part] + 1);
        return stage;
      }
      case Treatment::inlined:
        break;
    }
    int stage = 0;
    for (NodeId operand : node.operands) stage = std::max(stage, ready(operand, false));
    return stage;
  }

  void place(NodeId id) {
    const Node& node = graph_[id];
    switch (treatment(id)) {
      case Treatment::view:
        if (is_output_[id]) copy(id);
        return;
      case Treatment::inlined:
        return;
      case Treatment::assembled:
        // A concat that only contractions read is read part by part, if the parts can be.
        if (is_output_[id] || !read_by_tiles_only(id) || !pieces(graph_, plan_, id)) assemble(id);
        return;
      case Treatment::tile: {
        const NodeId vector = node.operands[1];
        if (!pieces(graph_, plan_, vector)) copy(vector);
        PlannedStage stage = stage_for(node, {node.type.shape[0] / plan_.gates[id]});
        stage.tile = id;
        stage.factor = pieces(graph_, plan_, vector).value();
        append(stage, id);
        return;
      }
      case Treatment::computed: {
        const bool elementwise = node.op->kind == OpClass::elementwise;
        int first = 0;
        for (NodeId operand : node.operands) first = std::max(first, ready(operand, elementwise));
        PlannedStage stage = stage_for(node, node.type.shape);
        stage.vector_reduce = reduces_along_memory(node);
        join(stage, id, first, elementwise && node.type.shape.rank() == 0);
        return;
      }
    }
  }

  bool read_by_tiles_only(NodeId id) const {
    return std::ranges::all_of(users_[id], [&](NodeId user) {
      return plan_.treatment[user] == Treatment::tile && graph_[user].operands[1] == id;
    });
  }

  /// Whether the reduced axis, not the result's last one, is consecutive in memory.
  bool reduces_along_memory(const Node& node) const {
    if (node.op->kind == OpClass::reduction && !node.op->over_children)
      return node.attributes.ints[0] == graph_[node.operands[0]].type.shape.rank() - 1;
    if (node.op->id == OpId::matmul && graph_[node.operands[1]].type.shape.rank() == 1)
      return graph_[node.operands[0]].op->id != OpId::transpose;
    return false;
  }

  /// Gives the concat storage that its parts are written into.
  void assemble(NodeId id) {
    if (plan_.stored[id]) return;
    plan_.stored[id] = true;
    for (NodeId part : graph_[id].operands) {
      if (treatment(part) == Treatment::view) copy(part);
      if (treatment(part) == Treatment::assembled) assemble(part);
      plan_.stored[part] = true;
    }
  }

  /// Makes a view an item of a stage, so that it is stored.
  void copy(NodeId id) {
    if (treatment(id) == Treatment::assembled) return assemble(id);
    if (plan_.stage[id] >= 0) return;
    plan_.stored[id] = true;
    join(stage_for(graph_[id], graph_[id].type.shape), id, ready(id, true), false);
  }

  PlannedStage stage_for(const Node& node, ir::Shape domain) const {
    PlannedStage stage;
    stage.rows =
        node.type.children == ir::per_instance ? RowDomain::instances : RowDomain::children;
    stage.port = node.type.children;
    stage.domain = domain;
    return stage;
  }

  void append(PlannedStage stage, NodeId item) {
    stage.items.push_back(item);
    plan_.stages.push_back(std::move(stage));
    plan_.stage[item] = int(plan_.stages.size()) - 1;
  }

  /// An address is as long as the chain of movements that it follows; a longer chain is cut.
  static constexpr int most_moves = 32;

  /// Compile time and the depth of expressions grow with what a stage evaluates, faster than it.
  static constexpr std::size_t most_items = 128;

  /// Puts the item into the first stage from `first` on with the same loop nest.
  void join(const PlannedStage& wanted, NodeId item, int first, bool any_reduce) {
    for (std::size_t s = std::size_t(first); s < plan_.stages.size(); ++s) {
      PlannedStage& stage = plan_.stages[s];
      if (stage.items.size() >= most_items) continue;
      if (stage.rows != wanted.rows || stage.port != wanted.port || stage.domain != wanted.domain)
        continue;
      if (stage.tile >= 0 ? wanted.vector_reduce
                          : !any_reduce && stage.vector_reduce != wanted.vector_reduce)
        continue;
      stage.items.push_back(item);
      plan_.stage[item] = int(s);
      return;
    }
    append(wanted, item);
  }

  void mark_reads(NodeId item, int stage) {
    const Node& node = graph_[item];
    if (treatment(item) == Treatment::tile) {
      // What a contraction reads through row pointers has to lie in memory, in one piece.
      for (const Piece& piece : plan_.stages[std::size_t(stage)].factor)
        if (piece.stored) plan_.stored[piece.node] = plan_.whole[piece.node] = true;
    } else if (treatment(item) == Treatment::computed) {
      for (NodeId operand : node.operands)
        mark_read(operand, stage, node.op->kind == OpClass::elementwise);
    } else if (treatment(item) == Treatment::view) {
      mark_read(item, stage, true);
    }
  }

  void mark_read(NodeId id, int stage, bool same_place) {
    const Node& node = graph_[id];
    switch (treatment(id)) {
      case Treatment::computed:
      case Treatment::tile:
        if (plan_.stage[id] != stage || !same_place) plan_.stored[id] = true;
        return;
      case Treatment::view:
        if (is_gate(node)) return mark_read(node.operands[0], stage, same_place);
        break;
      case Treatment::assembled:
        return;  // stored: only contractions read it otherwise
      case Treatment::inlined:
        break;
    }
    for (NodeId operand : node.operands) mark_read(operand, stage, false);
  }

  const Graph& graph_;
  const Target& target_;
  std::vector<std::vector<NodeId>> users_;
  std::vector<bool> is_output_;
  std::vector<int> moves_;  // by value: movements, one after the other, that are views
  StagePlan plan_;
};

}  // namespace

StagePlan plan_stages(const Graph& graph, std::span<const NodeId> outputs, const Target& target) {
  return Planner(graph, outputs, target).run();
}

}  // namespace espalier::codegen
