#include "runtime/update/row_sums.h"

#include <algorithm>

#include "runtime/update/step_kernels.h"

namespace espalier::runtime {

/// Numbers the rows, of which there are so many, in the order in which they appear.
void RowSums::touch(std::span<const Contribution> contributions, std::size_t rows) {
  slots_.resize(rows, -1);
  for (const std::int32_t row : touched_) slots_[std::size_t(row)] = -1;
  std::vector<std::int32_t> touched;
  for (const Contribution& c : contributions)
    for (const std::int32_t row : c.rows) {
      std::int32_t& slot = slots_[std::size_t(row)];
      if (slot >= 0) continue;
      slot = std::int32_t(touched.size());
      touched.push_back(row);
    }
  touched_ = std::move(touched);
}

/// Lists the entries of each slot, in their order.
void RowSums::sort(Source& source, const Contribution& contribution) {
  source.from = contribution.from;
  const auto slot = [&](std::int32_t row) { return std::size_t(slots_[std::size_t(row)]); };
  source.offsets.assign(touched_.size() + 1, 0);
  for (const std::int32_t row : contribution.rows) ++source.offsets[slot(row) + 1];
  for (std::size_t s = 1; s < source.offsets.size(); ++s)
    source.offsets[s] += source.offsets[s - 1];
  source.entries.resize(contribution.rows.size());
  for (std::size_t e = 0; e < contribution.rows.size(); ++e)
    source.entries[std::size_t(source.offsets[slot(contribution.rows[e])]++)] = std::int32_t(e);
  std::shift_right(source.offsets.begin(), source.offsets.end(), 1);
  source.offsets[0] = 0;
}

void RowSums::collect(const Memory& memory, const CellKernels& kernels, ir::ParamId param,
                      std::size_t width, bool carries, StepPlan& plan) {
  width_ = width;
  std::vector<Contribution> all;
  std::vector<std::int32_t> before;
  if (carries) {
    std::swap(sums_, carried_);
    before = touched_;
  }
  if (!before.empty()) all.push_back({before, carried_.data(), std::int64_t(width)});
  const auto& modules_of = kernels.training_kernels();
  for (std::size_t cell = 0; cell < modules_of.size(); ++cell)
    for (const RowContribution& c : modules_of[cell]->rows)
      if (c.param == param && memory.indices.row_counts()[cell] > 0)
        all.push_back({memory.layout.cells[cell].ports[std::size_t(c.index_port)].values,
                       memory.arenas.contribution(ir::CellId(cell), c.contribution),
                       codegen::row_stride(std::int64_t(width))});
  touch(all, memory.param_store.size(param) / width);
  sums_.reserve(touched_.size() * width);
  if (sources_.size() < all.size()) sources_.resize(all.size());
  strides_.clear();
  for (std::size_t i = 0; i < all.size(); ++i) {
    sort(sources_[i], all[i]);
    strides_.push_back(all[i].stride);
  }
  if (all.empty()) return;

  auto found = std::ranges::find(kernels_, strides_, [](const auto& of) { return of.first; });
  if (found == kernels_.end())
    found = kernels_.insert(
        kernels_.end(), {strides_, plan.compile(row_sums_kernel(std::int64_t(width), strides_))});
  std::vector<const void*> buffers{sums_.data()};
  for (std::size_t i = 0; i < all.size(); ++i) {
    buffers.push_back(plan.place(sources_[i].offsets));
    buffers.push_back(plan.place(sources_[i].entries));
    buffers.push_back(sources_[i].from);
  }
  plan.add(*found->second, buffers, std::int64_t(touched_.size()));
}

void RowSums::add_to(float* dense, StepPlan& plan) {
  if (!add_) add_ = plan.compile(add_rows_kernel(std::int64_t(width_)));
  plan.add(*add_, {plan.place(touched_), sums_.data(), dense}, std::int64_t(touched_.size()));
}

float* RowSums::blocks() {
  blocks_.reserve(touched_.size());
  return blocks_.data();
}

/// Bounds for a minibatch: entries of all contributions, and rows that they touch.
std::pair<std::size_t, std::size_t> RowSums::most(const Memory& memory, const CellKernels& kernels,
                                                  ir::ParamId param, std::size_t width) {
  std::size_t entries = 0;
  const auto& all = kernels.training_kernels();
  for (std::size_t cell = 0; cell < all.size(); ++cell)
    for (const RowContribution& c : all[cell]->rows)
      if (c.param == param)
        entries += memory.layout.cells[cell].ports[std::size_t(c.index_port)].values.size();
  return {entries, std::min(entries, memory.param_store.size(param) / width)};
}

std::size_t RowSums::forecast(const Memory& memory, const CellKernels& kernels, ir::ParamId param,
                              std::size_t width, bool carries) const {
  std::size_t rows = most(memory, kernels, param, width).second;
  if (carries) rows = std::min(rows + touched_.size(), memory.param_store.size(param) / width);
  const Buffer<float>& sums = carries ? carried_ : sums_;  // `collect` swaps them
  return sizeof(float) * (sums.capacity_for(rows * width) - sums.capacity() +
                          blocks_.capacity_for(rows) - blocks_.capacity());
}

Staged RowSums::staged(const Memory& memory, const CellKernels& kernels, ir::ParamId param,
                       std::size_t width, bool carries) const {
  Staged result;
  auto [entries, rows] = most(memory, kernels, param, width);
  std::size_t sources = 0;
  for (const auto& module : kernels.training_kernels())
    for (const RowContribution& c : module->rows) sources += c.param == param;
  if (carries) {
    entries += touched_.size();
    rows = std::min(rows + touched_.size(), memory.param_store.size(param) / width);
    ++sources;
  }
  for (std::size_t i = 0; i < sources; ++i) result.add((rows + 1) * sizeof(std::int32_t));
  result.add(entries * sizeof(std::int32_t) + 16 * sources);
  // The sums, and what adds them to a dense gradient or updates by them, each with its rows.
  result.add((3 * sources + 1) * sizeof(void*));
  for (int i = 0; i < 2; ++i) result.add(rows * sizeof(std::int32_t));
  result.launches = 3;
  return result;
}

}  // namespace espalier::runtime
