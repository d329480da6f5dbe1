#include "ir/build.h"

#include <algorithm>

#include "ir/op.h"

namespace espalier::ir {

std::string_view to_string(PortKind kind) {
  switch (kind) {
    case PortKind::index:
      return "index";
    case PortKind::child:
      return "child";
    case PortKind::children:
      return "children";
  }
  return "";
}

StateId tensor_state(Program& program, const Type& type) {
  const State state{to_string(type), {type}};
  const auto found = std::ranges::find(program.states, state);
  const auto id = static_cast<StateId>(found - program.states.begin());
  if (found == program.states.end()) program.states.push_back(state);
  return id;
}

int add_port(Cell& cell, PortKind kind, StateId state) {
  std::string name(to_string(kind));
  const auto before = std::ranges::count(cell.ports, kind, &Port::kind);
  if (before == 1) std::ranges::find(cell.ports, kind, &Port::kind)->name = name + "1";
  if (before > 0) name += std::to_string(before + 1);
  cell.ports.push_back({name, kind, state});
  return static_cast<int>(cell.ports.size()) - 1;
}

std::string unused_cell_name(const Program& program, const std::string& base) {
  const auto taken = [&](const std::string& name) {
    return std::ranges::find(program.cells, name, &Cell::name) != program.cells.end();
  };
  std::string name = base;
  for (int number = 2; taken(name); ++number) name = base + "_" + std::to_string(number);
  return name;
}

bool is_input(const Cell& cell) {
  if (!cell.ports.empty() || cell.outputs.empty()) return false;
  if (cell.graph.size() != static_cast<NodeId>(cell.outputs.size())) return false;
  for (std::size_t field = 0; field < cell.outputs.size(); ++field) {
    const Node& node = cell.graph[cell.outputs[field]];
    if (node.op->id != OpId::input || node.attributes.ints[0] != static_cast<int>(field))
      return false;
  }
  return true;
}

std::size_t input_size(const Program& program, const Cell& cell) {
  std::size_t size = 0;
  for (const Type& field : program.states[cell.state].fields)
    size += static_cast<std::size_t>(field.shape.size());
  return size;
}

}  // namespace espalier::ir
