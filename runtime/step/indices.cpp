#include "runtime/step/indices.h"

#include "ir/record/instance_graph.h"

namespace espalier::runtime {
namespace {

template <class T>
const T* placed(std::span<const T> values, Executor& executor) {
  if (values.empty()) return nullptr;
  return static_cast<const T*>(executor.place(values.data(), values.size_bytes()));
}

const std::int32_t* placed(const std::vector<std::int32_t>& values, Executor& executor) {
  return placed(std::span(values), executor);
}

}  // namespace

void Indices::reserve(const ir::Program& program) {
  std::size_t ports = 0;
  for (const ir::Cell& cell : program.cells) ports += cell.ports.size();
  cells_.reserve(program.cells.size());
  row_counts_.reserve(program.cells.size());
  ports_.reserve(ports);
  readers_.reserve(program.states.size());
}

void Indices::place(const scheduler::Layout& layout, Executor& executor) {
  row_counts_.clear();
  std::size_t ports = 0;
  for (const scheduler::CellLayout& cell : layout.cells) {
    row_counts_.push_back(std::int32_t(cell.instances.size()));
    ports += cell.ports.size();
  }
  ports_.assign(ports, {});
  cells_.assign(layout.cells.size(), {});
  const std::int32_t* const counts = placed(row_counts_, executor);
  std::size_t first = 0;
  for (std::size_t c = 0; c < cells_.size(); ++c) {
    const scheduler::CellLayout& from = layout.cells[c];
    for (std::size_t p = 0; p < from.ports.size(); ++p) {
      Port& port = ports_[first + p];
      port.values = placed(from.ports[p].values, executor);
      port.offsets = placed(from.ports[p].offsets, executor);
      port.owners = placed(from.ports[p].owners, executor);
    }
    cells_[c] = {placed(from.state_rows, executor), counts + c, nullptr,
                 std::span(ports_).subspan(first, from.ports.size())};
    first += from.ports.size();
  }
}

void Indices::place_gradients(const scheduler::Layout& layout, Executor& executor) {
  std::size_t at = 0;
  for (const scheduler::CellLayout& cell : layout.cells)
    for (const scheduler::PortLayout& port : cell.ports)
      ports_[at++].gradient_rows = placed(port.gradient_rows, executor);
  readers_.clear();
  for (const scheduler::Layout::GradientState& state : layout.gradients)
    readers_.push_back({placed(state.target, executor), placed(state.offsets, executor),
                        placed(state.summed, executor)});
}

Staged Indices::staged(const scheduler::Layout& layout) {
  Staged result;
  const auto add = [&](const auto& array) { result.add(std::span(array).size_bytes()); };
  result.add(layout.cells.size() * sizeof(std::int32_t));
  for (const scheduler::CellLayout& cell : layout.cells) {
    add(cell.state_rows);
    for (const scheduler::PortLayout& port : cell.ports)
      for (const auto* array : {&port.values, &port.offsets, &port.owners}) add(*array);
  }
  return result;
}

Staged Indices::staged_gradients(const scheduler::Layout& layout) {
  Staged result;
  const auto add = [&](const auto& array) { result.add(std::span(array).size_bytes()); };
  for (const scheduler::CellLayout& cell : layout.cells)
    for (const scheduler::PortLayout& port : cell.ports) add(port.gradient_rows);
  for (const scheduler::Layout::GradientState& state : layout.gradients)
    for (const auto* array : {&state.target, &state.offsets, &state.summed}) add(*array);
  return result;
}

void Indices::place_keys(ir::CellId cell, std::span<const std::uint64_t> keys, Executor& executor) {
  cells_[std::size_t(cell)].keys = placed(keys, executor);
}

std::size_t Indices::bytes() const {
  return ir::capacity_bytes(cells_, ports_, readers_, row_counts_);
}

}  // namespace espalier::runtime
