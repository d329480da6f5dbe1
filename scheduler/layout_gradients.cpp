// Layout::place_gradients: a row for every reader to store its gradient in.
#include "scheduler/layout.h"

namespace espalier::scheduler {
namespace {

/// The gradient row of the next reader of `row`.
std::int32_t hand_out(std::int32_t* next_row, std::int32_t row) {
  std::int32_t& next = next_row[row];
  if (next >= 0) return next++;
  next = ~next;
  return row;
}

}  // namespace

void Layout::place_gradients(const ir::InstanceGraph& graph, const ir::Program& program,
                             std::span<const ir::InstanceId> losses) {
  const auto state_of = [&](ir::CellId cell) { return program.cells[cell].state; };

  // Count the readers of each row.
  for (std::size_t s = 0; s < next_rows_.size(); ++s) next_rows_[s].assign(state_sizes[s], 0);
  for (std::size_t c = 0; c < cells.size(); ++c) {
    for (std::size_t p = 0; p < cells[c].ports.size(); ++p) {
      if (program.cells[c].ports[p].kind == ir::PortKind::index) continue;
      std::int32_t* readers = next_rows_[program.cells[c].ports[p].state].data();
      for (std::int32_t row : cells[c].ports[p].values) ++readers[row];
    }
  }
  for (ir::InstanceId loss : losses) ++next_rows_[state_of(graph.cell(loss))][rows[loss]];

  // Turn each count into ~(the row of the second reader): the first gets the value's own row.
  for (std::size_t s = 0; s < gradients.size(); ++s) {
    gradients[s].rows = state_sizes[s];
    gradients[s].target.clear();
    gradients[s].offsets.assign(1, 0);
    gradients[s].summed.clear();
  }
  first_target.resize(batches.size());
  target_count.resize(batches.size());
  for (std::size_t b = 0; b < batches.size(); ++b) {
    const ir::StateId s = state_of(batches[b].cell);
    GradientState& gradient = gradients[s];
    std::int32_t* next_row = next_rows_[s].data();
    const auto first = static_cast<std::uint32_t>(gradient.target.size());
    const std::uint32_t end = batches[b].state_row + batches[b].size;
    for (std::uint32_t row = batches[b].state_row; row < end; ++row) {
      const auto readers = static_cast<std::uint32_t>(next_row[row]);
      next_row[row] = ~static_cast<std::int32_t>(gradient.rows);
      if (readers == 1) continue;
      gradient.target.push_back(static_cast<std::int32_t>(row));
      if (readers > 0) gradient.summed.push_back(static_cast<std::int32_t>(row));
      for (std::uint32_t reader = 1; reader < readers; ++reader)
        gradient.summed.push_back(static_cast<std::int32_t>(gradient.rows++));
      gradient.offsets.push_back(static_cast<std::int32_t>(gradient.summed.size()));
    }
    first_target[b] = first;
    target_count[b] = static_cast<std::uint32_t>(gradient.target.size()) - first;
  }

  // Hand the rows out in batch order.
  for (CellLayout& cell : cells)
    for (PortLayout& port : cell.ports) port.gradient_rows.clear();
  for (const PlacedBatch& batch : batches) {
    const auto& ports = program.cells[batch.cell].ports;
    for (std::size_t p = 0; p < ports.size(); ++p) {
      if (ports[p].kind == ir::PortKind::index) continue;
      PortLayout& port = cells[batch.cell].ports[p];
      const std::size_t begin = port.gradient_rows.size(), end_row = batch.cell_row + batch.size;
      const std::size_t end = ports[p].kind == ir::PortKind::children
                                  ? static_cast<std::size_t>(port.offsets[end_row])
                                  : end_row;
      port.gradient_rows.resize(end);
      std::int32_t* next_row = next_rows_[ports[p].state].data();
      for (std::size_t k = begin; k < end; ++k)
        port.gradient_rows[k] = hand_out(next_row, port.values[k]);
    }
  }
  loss_rows.clear();
  for (ir::InstanceId loss : losses)
    loss_rows.push_back(hand_out(next_rows_[state_of(graph.cell(loss))].data(),
                                 static_cast<std::int32_t>(rows[loss])));
}

}  // namespace espalier::scheduler
