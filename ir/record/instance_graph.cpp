#include "ir/record/instance_graph.h"

#include "base/error.h"
#include "ir/build.h"

namespace espalier::ir {

void InstanceGraph::clear() {
  cell_.clear();
  stream_.clear();
  operands_.clear();
  indices_.clear();
  operand_begin_.assign(1, 0);
  index_begin_.assign(1, 0);
  examples_.clear();
  example_ = 0;
  position_ = calls_in_example_ = calls_before_ = 0;
  stream_now_ = {};
  done_ = 0;
}

void InstanceGraph::go_on(std::uint64_t example) {
  if (examples_.size() == 0)
    calls_before_ = calls_in_example_;
  else
    examples_[position_].calls = calls_in_example_;
  position_ = examples_.find_or_insert(example, example == 0 ? calls_before_ : 0);
  example_ = example;
  calls_in_example_ = examples_[position_].calls;
}

void InstanceGraph::reserve(std::size_t instances, std::size_t operands, std::size_t indices) {
  cell_.reserve(instances);
  stream_.reserve(instances);
  operand_begin_.reserve(instances + 1);
  index_begin_.reserve(instances + 1);
  operands_.reserve(operands);
  indices_.reserve(indices);
}

void verify(const InstanceGraph& graph, const Program& program) {
  for (InstanceId i = 0; i < graph.size(); ++i) {
    const CellId id = graph.cell(i);
    internal_check(id >= 0 && id < static_cast<CellId>(program.cells.size()),
                   "instance {} calls cell {} of {}", i, id, program.cells.size());
    const Cell& cell = program.cells[id];
    const auto operands = graph.operands(i);
    const auto indices = graph.indices(i);
    if (is_input(cell)) {
      internal_check(operands.empty() && indices.size() == input_size(program, cell),
                     "instance {} of '{}' has {} operands and {} numbers", i, cell.name,
                     operands.size(), indices.size());
      continue;
    }
    std::size_t operand = 0, index = 0;
    for (const Port& port : cell.ports) {
      std::size_t count = port.kind == PortKind::child ? 1 : 0;
      if (port.kind != PortKind::child) {
        internal_check(index < indices.size(), "instance {} of '{}' has too few indices", i,
                       cell.name);
        if (port.kind == PortKind::children) count = static_cast<std::size_t>(indices[index]);
        ++index;
      }
      for (std::size_t k = 0; k < count; ++k, ++operand) {
        internal_check(operand < operands.size(), "instance {} of '{}' has too few operands", i,
                       cell.name);
        const InstanceId from = operands[operand];
        internal_check(from < i, "instance {} of '{}' reads {}, which does not precede it", i,
                       cell.name, from);
        internal_check(program.cells[graph.cell(from)].state == port.state,
                       "instance {} of '{}' reads a '{}' at port '{}'", i, cell.name,
                       program.states[program.cells[graph.cell(from)].state].name, port.name);
      }
    }
    internal_check(operand == operands.size() && index == indices.size(),
                   "instance {} of '{}' has too many operands or indices", i, cell.name);
  }
}

}  // namespace espalier::ir
