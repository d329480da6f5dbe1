#include "ir/passes/hoist.h"

#include <algorithm>

#include "ir/op.h"
#include "ir/rebuild.h"

namespace espalier::ir {
namespace {

/// Whether an output of the cell may come back to one of its ports.
bool is_recurrent(const Program& program, const Cell& cell) {
  std::vector<bool> reached(program.states.size(), false);
  const auto reads_reached = [&](const Cell& reader) {
    return std::ranges::any_of(reader.ports, [&](const Port& port) {
      return port.kind != PortKind::index && reached[port.state];
    });
  };
  reached[cell.state] = true;
  for (bool grown = true; grown;) {
    grown = false;
    for (const Cell& reader : program.cells) {
      if (reached[reader.state] || !reads_reached(reader)) continue;
      reached[reader.state] = grown = true;
    }
  }
  return reads_reached(cell);
}

/// Finds what can be hoisted out of a cell and writes the two halves.
class Splitter {
 public:
  explicit Splitter(const Cell& cell)
      : cell_(cell), graph_(cell.graph), field_(cell.graph.size(), -1) {
    for (NodeId id = 0; id < graph_.size(); ++id) {
      free_.push_back(is_free(id));
      contracts_.push_back(free_.back() && contracts(graph_[id]));
    }
    for (NodeId id = 0; id < graph_.size(); ++id)
      if (!free_[id])
        for (NodeId operand : graph_[id].operands) offer(operand);
    for (NodeId output : cell.outputs) offer(output);
  }

  /// The values that the rest of the cell reads.
  const std::vector<NodeId>& hoisted() const { return hoisted_; }

  /// `state` is that of the hoisted values. Both list what they read of the call's indices.
  Cell hoisted_cell(StateId state, std::vector<int>& indices) {
    Cell result{cell_.name + ".hoisted", {}, state, {}, {}};
    GraphBuilder builder(GraphBuilder::Mode::record, "in cell '" + cell_.name + "'");
    const std::vector<bool> reads = needed(hoisted_, {});
    number_ports(reads, [](const Port&) { return false; }, result, indices);
    std::vector<Value> copies(graph_.size());
    for (NodeId id = 0; id < graph_.size(); ++id)
      if (reads[id]) copies[id] = copy(builder, id, copies);
    for (NodeId id : hoisted_) result.outputs.push_back(copies[id].id);
    result.graph = builder.finish(result.outputs);
    return result;
  }

  Cell rest(StateId state, std::vector<int>& indices) {
    Cell result{cell_.name, {}, cell_.state, {}, {}};
    GraphBuilder builder(GraphBuilder::Mode::record, "in cell '" + cell_.name + "'");
    const std::vector<bool> reads = needed(cell_.outputs, hoisted_);
    number_ports(
        reads, [](const Port& port) { return port.kind != PortKind::index; }, result, indices);
    const auto port = static_cast<int>(result.ports.size());
    result.ports.push_back({"hoisted", PortKind::child, state});
    std::vector<Value> copies(graph_.size());
    for (NodeId id = 0; id < graph_.size(); ++id) {
      const int field = field_[id];
      if (field >= 0)
        copies[id] = builder.leaf(OpId::port, graph_[id].type, {.ints = {port, field}});
      else if (reads[id])
        copies[id] = copy(builder, id, copies);
    }
    for (NodeId output : cell_.outputs) result.outputs.push_back(copies[output].id);
    result.graph = builder.finish(result.outputs);
    return result;
  }

 private:
  bool is_index_port(const Node& node) const {
    return node.op->id == OpId::port &&
           cell_.ports[node.attributes.ints[0]].kind == PortKind::index;
  }

  /// Whether the value is known before any operand is: it comes from indices and params.
  bool is_free(NodeId id) const {
    const Node& node = graph_[id];
    if (node.type.children != per_instance) return false;
    if (node.op->kind == OpClass::leaf) return is_index_port(node) || is_shared(graph_, id);
    return std::ranges::all_of(node.operands, [&](NodeId operand) { return free_[operand]; });
  }

  /// Whether it holds a product of weights with a value of its own: worth a batch.
  bool contracts(const Node& node) const {
    const auto shared = [&](NodeId operand) { return is_shared(graph_, operand); };
    if (node.op->kind == OpClass::contraction && node.op->meeting > 0 &&
        node.type.shape.rank() > 0 && shared(node.operands[0]) && !shared(node.operands[1]))
      return true;
    return std::ranges::any_of(node.operands, [&](NodeId operand) { return contracts_[operand]; });
  }

  /// A value read where operands are known.
  void offer(NodeId id) {
    if (!contracts_[id]) return;
    // Gates are handed on together: taking them apart moves nothing.
    while (graph_[id].op->kind == OpClass::movement && !graph_[id].op->takes_index &&
           graph_[id].operands.size() == 1)
      id = graph_[id].operands[0];
    if (field_[id] >= 0) return;
    field_[id] = static_cast<int>(hoisted_.size());
    hoisted_.push_back(id);
  }

  /// The nodes that `outputs` need, `cuts` and what only they need left out.
  std::vector<bool> needed(const std::vector<NodeId>& outputs,
                           const std::vector<NodeId>& cuts) const {
    std::vector<bool> result(graph_.size(), false), cut(graph_.size(), false);
    for (NodeId output : outputs) result[output] = true;
    for (NodeId id : cuts) cut[id] = true;
    for (NodeId id = graph_.size(); id-- > 0;) {
      if (cut[id]) result[id] = false;
      if (!result[id]) continue;
      for (NodeId operand : graph_[id].operands) result[operand] = true;
    }
    return result;
  }

  /// Gives `to` the ports that `keep` or that are read, and `indices` their positions.
  template <class Keep>
  void number_ports(const std::vector<bool>& reads, Keep keep, Cell& to,
                    std::vector<int>& indices) {
    ports_.assign(cell_.ports.size(), -1);
    std::vector<bool> read(cell_.ports.size(), false);
    for (NodeId id = 0; id < graph_.size(); ++id)
      if (reads[id] && graph_[id].op->id == OpId::port) read[graph_[id].attributes.ints[0]] = true;
    int index = 0;
    for (std::size_t p = 0; p < cell_.ports.size(); ++p) {
      const Port& port = cell_.ports[p];
      if (read[p] || keep(port)) {
        ports_[p] = static_cast<int>(to.ports.size());
        to.ports.push_back(port);
        if (port.kind != PortKind::child) indices.push_back(index);
      }
      if (port.kind != PortKind::child) ++index;
    }
  }

  /// Copies a node under the new numbers of the ports.
  Value copy(GraphBuilder& builder, NodeId id, const std::vector<Value>& copies) const {
    Node node = graph_[id];
    if (node.type.children != per_instance)
      node.type.children = static_cast<std::int8_t>(ports_[node.type.children]);
    if (node.op->attributes.ints[0] == "port")
      node.attributes.ints[0] = ports_[node.attributes.ints[0]];
    std::vector<Value> operands;
    for (NodeId operand : node.operands) operands.push_back(copies[operand]);
    return copy_node(builder, node, operands);
  }

  const Cell& cell_;
  const Graph& graph_;
  std::vector<bool> free_, contracts_;  // by node
  std::vector<NodeId> hoisted_;
  std::vector<int> field_;  // node → its position in hoisted_, or -1
  std::vector<int> ports_;  // old → new, of the half being written
};

}  // namespace

Hoisting::Hoisting(const Program& source) {
  program_.name = source.name;
  program_.params = source.params;
  for (const Cell& cell : source.cells) add(source, cell);
}

void Hoisting::add(const Program& source, const Cell& cell) {
  // States that `source` has got since.
  while (states_.size() < source.states.size()) {
    program_.states.push_back(source.states[states_.size()]);
    states_.push_back(static_cast<StateId>(program_.states.size()) - 1);
  }
  Cell own = cell;
  own.state = states_[cell.state];
  for (Port& port : own.ports)
    if (port.kind != PortKind::index) port.state = states_[port.state];

  HoistedCell& spelled = cells_.emplace_back();
  Splitter splitter(own);
  if (!is_recurrent(source, cell) || splitter.hoisted().empty()) {
    spelled.cell = append(std::move(own));
    return;
  }
  // A state of its own, so that no other cell's output seems to come to the new port.
  const auto hoisted = static_cast<StateId>(program_.states.size());
  State& state = program_.states.emplace_back(State{cell.name + ".hoisted", {}});
  for (NodeId id : splitter.hoisted()) state.fields.push_back(own.graph[id].type);
  spelled.hoisted = append(splitter.hoisted_cell(hoisted, spelled.hoisted_indices));
  spelled.cell = append(splitter.rest(hoisted, spelled.indices));
}

CellId Hoisting::append(Cell cell) {
  program_.cells.push_back(std::move(cell));
  return static_cast<CellId>(program_.cells.size()) - 1;
}

}  // namespace espalier::ir
