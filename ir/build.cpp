#include "ir/build.h"

#include <algorithm>

#include "ir/print.h"

namespace espalier::ir {

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

}  // namespace espalier::ir
