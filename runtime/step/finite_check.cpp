#include "runtime/step/finite_check.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "ir/evaluate.h"
#include "ir/op.h"
#include "ir/passes/simplify.h"

namespace espalier::runtime {
namespace {

bool all_finite(std::span<const float> values) {
  return std::ranges::all_of(values, [](float x) { return std::isfinite(x); });
}

std::span<const float> state_row(const Memory& memory, StateValues& states, ir::StateId state,
                                 int field, std::size_t row) {
  const auto n = std::size_t(
      memory.program.states[std::size_t(state)].fields[std::size_t(field)].shape.size());
  return {
      states.field(memory, state, field) + row * std::size_t(codegen::row_stride(std::int64_t(n))),
      n};
}

/// The first op whose result is not finite though its operands are; empty if double precision
/// hides it.
std::string find_op(const Memory& memory, StateValues& states, const scheduler::PlacedBatch& batch,
                    std::size_t cell_row) {
  const ir::Cell cell = ir::without_dropout(memory.program.cells[std::size_t(batch.cell)]);
  const scheduler::CellLayout& layout = memory.layout.cells[std::size_t(batch.cell)];
  // Operands of an instance at a port: positions in the port's values.
  const auto range = [&](int port) -> std::pair<std::size_t, std::size_t> {
    const auto& offsets = layout.ports[std::size_t(port)].offsets;
    if (cell.ports[std::size_t(port)].kind != ir::PortKind::children)
      return {cell_row, cell_row + 1};
    return {std::size_t(offsets[cell_row]), std::size_t(offsets[cell_row + 1])};
  };
  std::vector<int> children;
  for (int port = 0; port < int(cell.ports.size()); ++port)
    children.push_back(int(range(port).second - range(port).first));

  const auto leaf = [&](const ir::Node& node) -> std::vector<double> {
    const auto [a, b] = node.attributes.ints;
    if (node.op->id == ir::OpId::param) {
      const auto values = memory.param_store.values(a);
      return {values.begin(), values.end()};
    }
    if (node.op->id == ir::OpId::input) {
      const auto row =
          state_row(memory, states, cell.state, a, batch.state_row + (cell_row - batch.cell_row));
      return {row.begin(), row.end()};
    }
    std::vector<double> result;
    const auto [begin, end] = range(a);
    const ir::Port& port = cell.ports[std::size_t(a)];
    for (std::size_t i = begin; i < end; ++i) {
      const std::int32_t value = layout.ports[std::size_t(a)].values[i];
      if (port.kind == ir::PortKind::index) return {double(value)};
      const auto row = state_row(memory, states, port.state, b, std::size_t(value));
      result.insert(result.end(), row.begin(), row.end());
    }
    return result;
  };
  const auto values = ir::evaluate(cell.graph, children, leaf);
  for (ir::NodeId id = 0; id < cell.graph.size(); ++id)
    for (const double value : values[std::size_t(id)].data)
      if (!(std::fabs(value) <= 3.4028234663852886e38)) return std::string(cell.graph[id].op->name);
  return "";
}

}  // namespace

void check_finite(const Memory& memory, StateValues& values, const ir::InstanceGraph& graph,
                  const scheduler::PlacedBatch& batch) {
  const ir::Cell& cell = memory.program.cells[std::size_t(batch.cell)];
  const int fields = int(memory.program.states[std::size_t(cell.state)].fields.size());
  for (std::size_t i = 0; i < batch.size; ++i) {
    for (int field = 0; field < fields; ++field) {
      if (all_finite(state_row(memory, values, cell.state, field, batch.state_row + i))) continue;
      const std::size_t row = batch.cell_row + i;
      const ir::InstanceId instance = memory.layout.cells[std::size_t(batch.cell)].instances[row];
      const std::string op = find_op(memory, values, batch, row);
      throw UserError(fmt::format(
          "cell '{}' gave a NaN or Inf in output field {}, {}, in example {} (call {} of it)",
          cell.name, field,
          op.empty() ? "by rounding to single precision" : "first in op '" + op + "'",
          graph.stream(instance).example, graph.stream(instance).call));
    }
  }
}

}  // namespace espalier::runtime
