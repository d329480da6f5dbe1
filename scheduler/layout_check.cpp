// What always holds of a layout and of its gradient rows.
#include <algorithm>

#include "base/error.h"
#include "scheduler/layout.h"

namespace espalier::scheduler {
namespace {

using ir::InstanceId;
using ir::PortKind;

void check_rows(const Layout& layout, const ir::InstanceGraph& graph, const ir::Program& program) {
  std::vector<std::uint32_t> cell_rows(program.cells.size()), state_rows(program.states.size());
  std::size_t placed = 0;
  for (std::size_t b = 0; b < layout.batches.size(); ++b) {
    const PlacedBatch& batch = layout.batches[b];
    internal_check(batch.cell >= 0 && static_cast<std::size_t>(batch.cell) < program.cells.size(),
                   "batch {} is of cell {}", b, batch.cell);
    const CellLayout& cell = layout.cells[batch.cell];
    std::uint32_t& cell_row = cell_rows[batch.cell];
    std::uint32_t& state_row = state_rows[program.cells[batch.cell].state];
    internal_check(batch.size > 0 && batch.cell_row == cell_row && batch.state_row == state_row,
                   "batch {} starts at cell row {} and state row {}, expected {} and {}", b,
                   batch.cell_row, batch.state_row, cell_row, state_row);
    internal_check(cell_row + batch.size <= cell.instances.size() &&
                       cell_row + batch.size <= cell.state_rows.size(),
                   "batch {} ends behind its cell's arrays", b);
    for (std::uint32_t k = 0; k < batch.size; ++k, ++cell_row, ++state_row) {
      const InstanceId i = cell.instances[cell_row];
      internal_check(i < graph.size() && graph.cell(i) == batch.cell,
                     "batch {} holds instance {}, not one of its cell", b, i);
      internal_check(layout.rows[i] == state_row &&
                         cell.state_rows[cell_row] == static_cast<std::int32_t>(state_row),
                     "instance {} has rows {} and {}, its place in batch {} is row {}", i,
                     layout.rows[i], cell.state_rows[cell_row], b, state_row);
    }
    placed += batch.size;
  }
  internal_check(placed == graph.size(), "{} of {} instances are placed", placed, graph.size());
  internal_check(state_rows == layout.state_sizes, "batches do not cover the states' arenas");
  for (std::size_t c = 0; c < cell_rows.size(); ++c) {
    internal_check(cell_rows[c] == layout.cells[c].instances.size() &&
                       cell_rows[c] == layout.cells[c].state_rows.size(),
                   "batches do not cover the rows of cell '{}'", program.cells[c].name);
  }
}

/// Index arrays of one cell. `next` walks over each instance's operands, port by port.
void check_cell(const CellLayout& layout, const ir::Cell& cell,
                const std::vector<std::uint32_t>& rows, const ir::InstanceGraph& graph) {
  const std::size_t size = layout.instances.size();
  std::vector<std::size_t> next(size, 0);
  std::size_t index = 0;
  for (std::size_t p = 0; p < cell.ports.size(); ++p) {
    const ir::Port& port = cell.ports[p];
    const PortLayout& arrays = layout.ports[p];
    const bool children = port.kind == PortKind::children;
    internal_check(!children || (arrays.offsets.size() == size + 1 && arrays.offsets[0] == 0 &&
                                 arrays.owners.size() == arrays.values.size()),
                   "port '{}' of '{}' has {} offsets and {} owners", port.name, cell.name,
                   arrays.offsets.size(), arrays.owners.size());
    internal_check(
        arrays.values.size() == (children ? static_cast<std::size_t>(arrays.offsets[size]) : size),
        "port '{}' of '{}' has {} values", port.name, cell.name, arrays.values.size());
    for (std::size_t r = 0; r < size; ++r) {
      const InstanceId i = layout.instances[r];
      const std::int32_t given = port.kind == PortKind::child ? 1 : graph.indices(i)[index];
      if (port.kind == PortKind::index) {
        internal_check(arrays.values[r] == given, "port '{}' of instance {} is {}, not {}",
                       port.name, i, arrays.values[r], given);
        continue;
      }
      const std::size_t begin = children ? arrays.offsets[r] : r;
      internal_check(!children || arrays.offsets[r + 1] - arrays.offsets[r] == given,
                     "port '{}' of instance {} does not have {} children", port.name, i, given);
      for (std::size_t k = begin; k < begin + given; ++k) {
        const InstanceId operand = graph.operands(i)[next[r]++];
        internal_check(arrays.values[k] == static_cast<std::int32_t>(rows[operand]),
                       "port '{}' of instance {} reads row {}, instance {} lies in row {}",
                       port.name, i, arrays.values[k], operand, rows[operand]);
        if (!children) continue;
        internal_check(arrays.owners[k] == static_cast<std::int32_t>(r),
                       "element {} of port '{}' of '{}' has owner {}, not {}", k, port.name,
                       cell.name, arrays.owners[k], r);
      }
    }
    if (port.kind != PortKind::child) ++index;
  }
}

/// Calls visit(state, row, gradient row) for every reader in the order in which rows are summed.
template <class Visit>
void for_each_reader(const Layout& layout, const ir::InstanceGraph& graph,
                     const ir::Program& program, std::span<const InstanceId> losses,
                     const Visit& visit) {
  for (std::size_t b = 0; b < layout.batches.size(); ++b) {
    const ir::CellId c = layout.batches[b].cell;
    for (std::size_t p = 0; p < program.cells[c].ports.size(); ++p) {
      const ir::Port& port = program.cells[c].ports[p];
      if (port.kind == PortKind::index) continue;
      const PortLayout& arrays = layout.cells[c].ports[p];
      internal_check(arrays.gradient_rows.size() == arrays.values.size(),
                     "port '{}' of '{}' has {} gradient rows for {} values", port.name,
                     program.cells[c].name, arrays.gradient_rows.size(), arrays.values.size());
      const auto values = layout.values(b, p, program);
      const std::int32_t* gradient_rows =
          arrays.gradient_rows.data() + (values.data() - arrays.values.data());
      for (std::size_t k = 0; k < values.size(); ++k)
        visit(port.state, values[k], gradient_rows[k]);
    }
  }
  internal_check(layout.loss_rows.size() == losses.size(), "{} loss rows for {} losses",
                 layout.loss_rows.size(), losses.size());
  for (std::size_t k = 0; k < losses.size(); ++k)
    visit(program.cells[graph.cell(losses[k])].state,
          static_cast<std::int32_t>(layout.rows[losses[k]]), layout.loss_rows[k]);
}

}  // namespace

void check(const Layout& layout, const ir::InstanceGraph& graph, const ir::Program& program) {
  internal_check(layout.rows.size() == graph.size() &&
                     layout.cells.size() == program.cells.size() &&
                     layout.state_sizes.size() == program.states.size(),
                 "a layout of another graph or program");
  check_rows(layout, graph, program);
  for (std::size_t c = 0; c < program.cells.size(); ++c) {
    internal_check(layout.cells[c].ports.size() == program.cells[c].ports.size(),
                   "cell '{}' has {} ports laid out", program.cells[c].name,
                   layout.cells[c].ports.size());
    check_cell(layout.cells[c], program.cells[c], layout.rows, graph);
  }
}

void check_gradients(const Layout& layout, const ir::InstanceGraph& graph,
                     const ir::Program& program, std::span<const InstanceId> losses) {
  const std::size_t states = program.states.size();
  internal_check(layout.gradients.size() == states &&
                     layout.first_target.size() == layout.batches.size() &&
                     layout.target_count.size() == layout.batches.size(),
                 "gradients are not placed");
  std::vector<std::vector<std::uint32_t>> readers(states);
  for (std::size_t s = 0; s < states; ++s) readers[s].resize(layout.state_sizes[s]);
  for_each_reader(layout, graph, program, losses,
                  [&](ir::StateId s, std::int32_t row, std::int32_t) { ++readers[s][row]; });

  // Each batch's targets are its rows that do not have exactly one reader, each the sum of as many
  // rows; next[s][row] walks over them.
  std::vector<std::vector<std::size_t>> next(states);
  for (std::size_t s = 0; s < states; ++s) next[s].resize(layout.state_sizes[s]);
  std::vector<std::size_t> targets(states, 0);
  for (std::size_t b = 0; b < layout.batches.size(); ++b) {
    const PlacedBatch& batch = layout.batches[b];
    const ir::StateId s = program.cells[batch.cell].state;
    const Layout::GradientState& gradient = layout.gradients[s];
    const std::size_t first = targets[s];
    for (std::uint32_t row = batch.state_row; row < batch.state_row + batch.size; ++row) {
      if (readers[s][row] == 1) continue;
      const std::size_t t = targets[s]++;
      internal_check(t + 1 < gradient.offsets.size() && t < gradient.target.size() &&
                         gradient.target[t] == static_cast<std::int32_t>(row),
                     "row {} of state '{}' has {} readers and is not target {}", row,
                     program.states[s].name, readers[s][row], t);
      next[s][row] = gradient.offsets[t];
      internal_check(gradient.offsets[t] + readers[s][row] ==
                         static_cast<std::uint32_t>(gradient.offsets[t + 1]),
                     "row {} of state '{}' does not sum {} rows", row, program.states[s].name,
                     readers[s][row]);
    }
    internal_check(layout.first_target[b] == first && layout.target_count[b] == targets[s] - first,
                   "batch {} sums targets [{}, + {}), expected [{}, + {})", b,
                   layout.first_target[b], layout.target_count[b], first, targets[s] - first);
  }
  for (std::size_t s = 0; s < states; ++s) {
    const Layout::GradientState& gradient = layout.gradients[s];
    const std::size_t summed = gradient.summed.size();
    internal_check(gradient.target.size() == targets[s] &&
                       gradient.offsets.size() == targets[s] + 1 && gradient.offsets[0] == 0 &&
                       static_cast<std::size_t>(gradient.offsets.back()) == summed,
                   "state '{}' has {} targets and {} summed rows", program.states[s].name,
                   gradient.target.size(), summed);
    std::uint32_t rows = layout.state_sizes[s];
    for (std::size_t t = 0; t < targets[s]; ++t) {
      for (std::int32_t k = gradient.offsets[t]; k < gradient.offsets[t + 1]; ++k) {
        const std::int32_t expected =
            k == gradient.offsets[t] ? gradient.target[t] : static_cast<std::int32_t>(rows++);
        internal_check(gradient.summed[k] == expected, "summed row {} of state '{}' is {}, not {}",
                       k, program.states[s].name, gradient.summed[k], expected);
      }
    }
    internal_check(gradient.rows == rows, "state '{}' has {} gradient rows, not {}",
                   program.states[s].name, gradient.rows, rows);
  }
  for_each_reader(layout, graph, program, losses,
                  [&](ir::StateId s, std::int32_t row, std::int32_t gradient_row) {
                    const std::int32_t expected =
                        readers[s][row] == 1 ? row : layout.gradients[s].summed[next[s][row]++];
                    internal_check(gradient_row == expected,
                                   "a reader of row {} of state '{}' stores into row {}, not {}",
                                   row, program.states[s].name, gradient_row, expected);
                  });
}

}  // namespace espalier::scheduler
