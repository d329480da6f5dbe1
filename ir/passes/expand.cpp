#include "ir/passes/expand.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "ir/build.h"
#include "ir/op.h"
#include "ir/rebuild.h"

namespace espalier::ir {
namespace {

bool same_cell(const Cell& a, const Cell& b) {
  return a.ports == b.ports && a.state == b.state && a.outputs == b.outputs &&
         std::ranges::equal(a.graph.nodes(), b.graph.nodes(), [](const Node& x, const Node& y) {
           return x.op == y.op && x.type == y.type && x.operands == y.operands &&
                  x.attributes == y.attributes;
         });
}

std::size_t hash(const Cell& cell) {
  std::size_t seed = cell.ports.size();
  const auto mix = [&](std::size_t value) { seed = seed * 1000003 ^ value; };
  mix(static_cast<std::size_t>(cell.state));
  for (const Port& port : cell.ports) mix(static_cast<std::size_t>(port.state));
  for (const Node& node : cell.graph.nodes()) {
    mix(std::hash<const void*>()(node.op));
    for (NodeId operand : node.operands) mix(static_cast<std::size_t>(operand));
    for (std::int32_t value : node.attributes.ints) mix(static_cast<std::size_t>(value));
  }
  return seed;
}

/// `type` as the one tensor of a state.
Type per_instance_type(Type type) {
  type.children = per_instance;
  return type;
}

}  // namespace

/// Spells one cell in one-op cells of `expansion`.
class CellExpander {
 public:
  CellExpander(Expansion& expansion, const Program& source, const Cell& cell)
      : expansion_(expansion), source_(source), cell_(cell), graph_(cell.graph) {}

  CellTemplate run() {
    step_of_.assign(graph_.size(), -1);
    for (NodeId id = 0; id < graph_.size(); ++id)
      if (!is_inline(id) && !is_port(id) && !is_spread(id)) make_step(id);
    for (NodeId output : cell_.outputs) {
      if (is_inline(output) && step_of_[output] < 0) make_step(output);
      result_.outputs.push_back(source_of(output));
    }
    return std::move(result_);
  }

 private:
  bool is_port(NodeId id) const { return graph_[id].op->id == OpId::port; }
  bool is_spread(NodeId id) const { return graph_[id].op->id == OpId::per_child; }

  /// Whether the value is formed inside each cell that reads it.
  bool is_inline(NodeId id) const {
    const Node& node = graph_[id];
    if (node.type.dtype != DType::f32) return true;
    if (node.op->kind == OpClass::leaf) return !is_port(id);
    return is_spread(id) ? is_inline(node.operands[0]) : is_shared(graph_, id);
  }

  StepSource source_of(NodeId id) const {
    const Node& node = graph_[id];
    const bool each = node.type.children != per_instance;
    if (step_of_[id] >= 0) return {StepSource::Kind::step, step_of_[id], 0, each};
    if (is_spread(id)) {
      StepSource source = source_of(node.operands[0]);
      source.each = false;
      return source;
    }
    internal_check(is_port(id), "'{}' of cell '{}' has no instance", node.op->name, cell_.name);
    return {StepSource::Kind::port, node.attributes.ints[0], node.attributes.ints[1], each};
  }

  Type type_of(const StepSource& source) const {
    if (source.kind == StepSource::Kind::port)
      return source_.states[cell_.ports[source.id].state].fields[source.field];
    const Cell& made = expansion_.program_.cells[result_.steps[source.id].cell];
    return expansion_.program_.states[made.state].fields[0];
  }

  void make_step(NodeId id) {
    const Node& node = graph_[id];
    Step step;
    step.combines = node.op->kind == OpClass::reduction && node.op->over_children;
    step.over = step.combines ? graph_[node.operands[0]].type.children : node.type.children;
    collect(id, step, true);
    if (step.combines) {
      internal_check(step.operands.size() <= 1 && step.index_ports.empty(),
                     "'{}' of cell '{}' combines several values", node.op->name, cell_.name);
      // What is combined may be the same for every child: then only their number is read.
      if (step.operands.empty())
        step.operands.push_back({StepSource::Kind::port, step.over, 0, true});
    }
    step.cell = expansion_.intern(build(id, step));
    step_of_[id] = static_cast<int>(result_.steps.size());
    result_.steps.push_back(std::move(step));
  }

  /// Finds what the step for `id` reads.
  void collect(NodeId id, Step& step, bool is_root) {
    const Node& node = graph_[id];
    if (is_port(id) && node.type.dtype == DType::i32) {
      if (std::ranges::find(step.index_ports, node.attributes.ints[0]) == step.index_ports.end())
        step.index_ports.push_back(node.attributes.ints[0]);
    } else if (is_root || is_inline(id)) {
      for (NodeId operand : node.operands) collect(operand, step, false);
    } else {
      const StepSource source = source_of(id);
      if (std::ranges::find(step.operands, source) == step.operands.end())
        step.operands.push_back(source);
    }
  }

  Cell build(NodeId id, const Step& step) {
    const Node& node = graph_[id];
    Program& program = expansion_.program_;
    Cell cell;
    cell.name = node.op->name;
    const PortKind kind = step.combines ? PortKind::children : PortKind::child;
    for (const StepSource& source : step.operands)
      add_port(cell, kind, tensor_state(program, type_of(source)));
    for (std::size_t i = 0; i < step.index_ports.size(); ++i) add_port(cell, PortKind::index, -1);
    cell.state = tensor_state(program, per_instance_type(node.type));
    GraphBuilder builder(GraphBuilder::Mode::record, "in cell '" + cell_.name + "'");
    std::map<NodeId, Value> copies;
    cell.outputs = {copy(id, step, builder, copies, true).id};
    cell.graph = builder.finish(cell.outputs);
    for (const Node& made : cell.graph.nodes())
      if (made.op->id == OpId::param) {
        cell.name += "_" + program.params[made.attributes.ints[0]].name;
        break;
      }
    return cell;
  }

  Value copy(NodeId id, const Step& step, GraphBuilder& builder, std::map<NodeId, Value>& copies,
             bool is_root) {
    if (const auto found = copies.find(id); found != copies.end()) return found->second;
    const Node& node = graph_[id];
    Type type = per_instance_type(node.type);
    Value value;
    if (is_port(id) && type.dtype == DType::i32) {
      const auto position = std::ranges::find(step.index_ports, node.attributes.ints[0]);
      const auto port = int(step.operands.size()) + int(position - step.index_ports.begin());
      value = builder.leaf(OpId::port, type, {.ints = {port, 0}});
    } else if (!is_root && !is_inline(id)) {
      if (step.combines) type.children = 0;
      const auto port =
          int(std::ranges::find(step.operands, source_of(id)) - step.operands.begin());
      value = builder.leaf(OpId::port, type, {.ints = {port, 0}});
    } else if (is_spread(id)) {
      value = copy(node.operands[0], step, builder, copies, false);
      if (step.combines) value = builder.apply(OpId::per_child, {value}, {.ints = {0, 0}});
    } else if (node.op->kind == OpClass::leaf) {
      if (step.combines && node.type.children != per_instance) type.children = 0;
      value = builder.leaf(*node.op, type, node.attributes);
    } else {
      std::vector<Value> operands;
      for (NodeId operand : node.operands)
        operands.push_back(copy(operand, step, builder, copies, false));
      value = builder.apply(*node.op, operands, node.attributes);
    }
    copies.emplace(id, value);
    return value;
  }

  Expansion& expansion_;
  const Program& source_;
  const Cell& cell_;
  const Graph& graph_;
  CellTemplate result_;
  std::vector<int> step_of_;  // node → step, -1 for none
};

Expansion::Expansion(const Program& source) {
  program_.name = source.name;
  program_.params = source.params;
  for (const Cell& cell : source.cells) add(source, cell);
}

void Expansion::add(const Program& source, const Cell& cell) {
  templates_.push_back(CellExpander(*this, source, cell).run());
}

CellId Expansion::intern(Cell cell) {
  const std::size_t key = hash(cell);
  for (auto [it, end] = table_.equal_range(key); it != end; ++it)
    if (same_cell(program_.cells[it->second], cell)) return it->second;
  cell.name = unused_cell_name(program_, cell.name);
  program_.cells.push_back(std::move(cell));
  const auto id = static_cast<CellId>(program_.cells.size() - 1);
  table_.emplace(key, id);
  return id;
}

}  // namespace espalier::ir
