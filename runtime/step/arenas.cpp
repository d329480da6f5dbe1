#include "runtime/step/arenas.h"

namespace espalier::runtime {
namespace {

std::size_t row_floats(const ir::Type& field) {
  return std::size_t(codegen::row_stride(field.shape.size()));
}

}  // namespace

std::size_t kept_row_count(const KeptRows& kept, const scheduler::CellLayout& layout) {
  if (kept.children == ir::per_instance) return layout.instances.size();
  return layout.ports[std::size_t(kept.children)].values.size();
}

Buffer<float>& Arenas::at(Table& table, int row, int i) {
  if (table.size() <= std::size_t(row)) table.resize(std::size_t(row) + 1);
  auto& buffers = table[std::size_t(row)];
  while (buffers.size() <= std::size_t(i)) buffers.emplace_back(counter_, device_);
  return buffers[std::size_t(i)];
}

void Arenas::release() {
  for (Table* table : {&values_, &gradients_, &residuals_, &contributions_})
    for (auto& buffers : *table)
      for (Buffer<float>& buffer : buffers) buffer.release();
  for (auto& keys : keys_) keys.release();
  scratch_.release();
}

void Arenas::reserve_values(const ir::Program& program, const scheduler::Layout& layout,
                            bool keep) {
  for (std::size_t state = 0; state < layout.state_sizes.size(); ++state) {
    const auto& fields = program.states[state].fields;
    for (std::size_t field = 0; field < fields.size(); ++field)
      at(values_, int(state), int(field))
          .reserve(layout.state_sizes[state] * row_floats(fields[field]), keep);
  }
}

void Arenas::reserve_gradients(const ir::Program& program, const scheduler::Layout& layout) {
  for (std::size_t state = 0; state < layout.gradients.size(); ++state) {
    const auto& fields = program.states[state].fields;
    for (std::size_t field = 0; field < fields.size(); ++field)
      at(gradients_, int(state), int(field))
          .reserve(layout.gradients[state].rows * row_floats(fields[field]));
  }
}

void Arenas::reserve_kept(Table& table, std::span<const KeptRows> kept, ir::CellId cell,
                          const scheduler::CellLayout& layout, bool keep) {
  for (std::size_t i = 0; i < kept.size(); ++i)
    at(table, cell, int(i))
        .reserve(kept_row_count(kept[i], layout) * std::size_t(kept[i].stride), keep);
}

void Arenas::reserve_residuals(const TrainingKernels& module, ir::CellId cell,
                               const scheduler::CellLayout& layout, bool keep) {
  reserve_kept(residuals_, module.residuals, cell, layout, keep);
}

void Arenas::reserve_contributions(const TrainingKernels& module, ir::CellId cell,
                                   const scheduler::CellLayout& layout) {
  reserve_kept(contributions_, module.contributions, cell, layout, false);
}

Buffer<std::uint64_t>& Arenas::keys(ir::CellId cell) {
  while (keys_.size() <= std::size_t(cell)) keys_.emplace_back(device_ ? of_host_ : counter_);
  return keys_[std::size_t(cell)];
}

}  // namespace espalier::runtime
