#include "scheduler/layout.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "base/error.h"

namespace espalier::scheduler {

using ir::InstanceId;
using ir::PortKind;

void Layout::clear(const ir::Program& program) {
  batches.clear();
  rows.clear();
  state_sizes.assign(program.states.size(), 0);
  cells.resize(program.cells.size());
  for (std::size_t c = 0; c < cells.size(); ++c) {
    cells[c].instances.clear();
    cells[c].state_rows.clear();
    cells[c].ports.resize(program.cells[c].ports.size());
    for (std::size_t p = 0; p < cells[c].ports.size(); ++p) {
      PortLayout& port = cells[c].ports[p];
      port.values.clear();
      port.offsets.assign(program.cells[c].ports[p].kind == PortKind::children ? 1 : 0, 0);
      port.owners.clear();
      port.gradient_rows.clear();
    }
  }
  gradients.resize(program.states.size());
  next_rows_.resize(program.states.size());
  for (GradientState& gradient : gradients) {
    gradient.rows = 0;
    gradient.target.clear();
    gradient.offsets.assign(1, 0);
    gradient.summed.clear();
  }
  first_target.clear();
  target_count.clear();
  loss_rows.clear();
}

void Layout::grow(const ir::Program& program) {
  state_sizes.resize(program.states.size(), 0);
  gradients.resize(program.states.size());
  next_rows_.resize(program.states.size());
  while (cells.size() < program.cells.size()) {
    CellLayout& cell = cells.emplace_back();
    for (const ir::Port& port : program.cells[cells.size() - 1].ports)
      cell.ports.emplace_back().offsets.assign(port.kind == PortKind::children ? 1 : 0, 0);
  }
}

void Layout::append(const ir::InstanceGraph& graph, const Schedule& schedule,
                    const ir::Program& program) {
  internal_check(cells.size() == program.cells.size(), "a layout of {} cells for a program of {}",
                 cells.size(), program.cells.size());
  internal_check(graph.size() <= INT32_MAX && graph.all_operands().size() <= INT32_MAX,
                 "a minibatch of more than 2^31 rows");
  rows.resize(graph.size(), no_row);
  for (const Batch& batch : schedule.batches) {
    const ir::Cell& cell = program.cells[batch.cell];
    CellLayout& placed = cells[batch.cell];
    const auto instances = schedule.instances(batch);
    const auto size = static_cast<std::uint32_t>(instances.size());
    const auto cell_row = static_cast<std::uint32_t>(placed.instances.size());
    const std::uint32_t state_row = state_sizes[cell.state];
    batches.push_back({batch.cell, cell_row, size, state_row});
    state_sizes[cell.state] += size;

    placed.instances.insert(placed.instances.end(), instances.begin(), instances.end());
    placed.state_rows.resize(cell_row + size);
    std::iota(placed.state_rows.begin() + cell_row, placed.state_rows.end(), state_row);
    next_operand_.resize(std::max<std::size_t>(next_operand_.size(), size));
    for (std::uint32_t k = 0; k < size; ++k) {
      rows[instances[k]] = state_row + k;
      next_operand_[k] = graph.operand_begin(instances[k]);
    }
    std::uint32_t index = 0;
    for (std::size_t p = 0; p < cell.ports.size(); ++p) {
      append_port(graph, instances, cell.ports[p].kind, index, cell_row, placed.ports[p]);
      if (cell.ports[p].kind != PortKind::child) ++index;
    }
  }
}

void Layout::cut(std::size_t batch_count, std::size_t instance_count, const ir::Program& program) {
  for (; batches.size() > batch_count; batches.pop_back()) {
    const PlacedBatch& batch = batches.back();
    CellLayout& cell = cells[batch.cell];
    cell.instances.resize(batch.cell_row);
    cell.state_rows.resize(batch.cell_row);
    for (PortLayout& port : cell.ports) {
      if (!port.offsets.empty()) port.offsets.resize(batch.cell_row + 1);
      port.values.resize(port.offsets.empty() ? batch.cell_row : port.offsets.back());
      if (!port.offsets.empty()) port.owners.resize(port.offsets.back());
    }
    state_sizes[program.cells[batch.cell].state] = batch.state_row;
  }
  rows.resize(instance_count);
}

std::size_t Layout::bytes() const {
  const auto arrays_of = [](const PortLayout& port) {
    return ir::capacity_bytes(port.values, port.offsets, port.owners, port.gradient_rows);
  };
  std::size_t bytes = ir::capacity_bytes(batches, rows, state_sizes, first_target, target_count,
                                         loss_rows, next_operand_);
  for (const CellLayout& cell : cells) {
    bytes += ir::capacity_bytes(cell.instances, cell.state_rows);
    for (const PortLayout& port : cell.ports) bytes += arrays_of(port);
  }
  for (const GradientState& gradient : gradients)
    bytes += ir::capacity_bytes(gradient.target, gradient.offsets, gradient.summed);
  for (const auto& rows_of_state : next_rows_) bytes += ir::capacity_bytes(rows_of_state);
  return bytes;
}

std::size_t Layout::most_bytes(const ir::GraphSize& size, const ir::Program& program) {
  constexpr std::size_t number = sizeof(std::uint32_t);
  // Batches are no more than instances; each is in the schedule, here, and in three lists.
  constexpr std::size_t of_batch = sizeof(Batch) + sizeof(PlacedBatch) + 2 * number + 8;
  // In the schedule's order, rows, instances, state_rows, next_operand_, next_rows_, target, its
  // offsets, summed, and offsets of Children ports.
  constexpr std::size_t of_instance = 10 * number;
  // Values, owners, gradient_rows, summed.
  constexpr std::size_t of_operand = 4 * number;
  std::size_t bytes = size.instances * (of_batch + of_instance) + size.operands * of_operand +
                      size.indices * number + size.losses * 2 * number;
  for (const ir::Cell& cell : program.cells) bytes += (cell.ports.size() + 1) * number;
  bytes += program.states.size() * 2 * number;
  return 2 * bytes;  // lists that grow have room for up to twice as much
}

/// `index` is the position of the port's value in the instances' indices; `next_operand_` of each
/// instance moves behind the operands of this port.
void Layout::append_port(const ir::InstanceGraph& graph, std::span<const InstanceId> instances,
                         PortKind kind, std::uint32_t index, std::uint32_t cell_row,
                         PortLayout& port) {
  const std::size_t size = instances.size(), old = port.values.size();
  const InstanceId* operands = graph.all_operands().data();
  if (kind != PortKind::children) {
    port.values.resize(old + size);
    std::int32_t* values = port.values.data() + old;
    if (kind == PortKind::index) {
      for (std::size_t k = 0; k < size; ++k) values[k] = graph.indices(instances[k])[index];
    } else {
      for (std::size_t k = 0; k < size; ++k)
        values[k] = static_cast<std::int32_t>(rows[operands[next_operand_[k]++]]);
    }
    return;
  }
  for (std::size_t k = 0; k < size; ++k)
    port.offsets.push_back(port.offsets.back() + graph.indices(instances[k])[index]);
  const auto total = static_cast<std::size_t>(port.offsets.back());
  port.values.resize(total);
  port.owners.resize(total);
  std::size_t element = old;
  for (std::size_t k = 0; k < size; ++k) {
    const auto end = static_cast<std::size_t>(port.offsets[cell_row + k + 1]);
    for (; element < end; ++element) {
      port.values[element] = static_cast<std::int32_t>(rows[operands[next_operand_[k]++]]);
      port.owners[element] = static_cast<std::int32_t>(cell_row + k);
    }
  }
}

std::span<const std::int32_t> Layout::values(std::size_t batch, std::size_t port,
                                             const ir::Program& program) const {
  const PlacedBatch& placed = batches[batch];
  const PortLayout& layout = cells[placed.cell].ports[port];
  std::size_t begin = placed.cell_row, end = begin + placed.size;
  if (program.cells[placed.cell].ports[port].kind == PortKind::children) {
    begin = layout.offsets[begin];
    end = layout.offsets[end];
  }
  return std::span(layout.values).subspan(begin, end - begin);
}

Access Layout::access(std::size_t batch, std::size_t port, const ir::Program& program) const {
  const auto read = values(batch, port, program);
  const bool index = program.cells[batches[batch].cell].ports[port].kind == PortKind::index;
  const auto neighbours = [&](auto related) {
    return std::adjacent_find(read.begin(), read.end(), [&](std::int32_t a, std::int32_t b) {
             return !related(a, b);
           }) == read.end();
  };
  if (!index && neighbours([](std::int32_t a, std::int32_t b) { return a + 1 == b; }))
    return Access::contiguous;
  return neighbours(std::equal_to<>()) ? Access::shared : Access::gathered;
}

}  // namespace espalier::scheduler
