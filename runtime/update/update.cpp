#include "runtime/update/update.h"

#include <algorithm>
#include <limits>

namespace espalier::runtime {

KernelUpdate::KernelUpdate(const std::vector<StoredParam>& stored, MemoryCounter& counter,
                           Executor& executor, codegen::Compiler& compiler, Results& results)
    : stored_(stored),
      plan_(executor, compiler),
      results_(results),
      forms_(stored),
      state_(counter, plan_.memory()),
      blocks_(counter, &plan_.memory()) {
  for (std::size_t p = 0; p < stored.size(); ++p)
    params_.push_back({.sums = {counter, &plan_.memory()}});
}

void KernelUpdate::make_gradients(const Memory& memory, const CellKernels& kernels) {
  forms_.classify(kernels);
  for (ir::ParamId id = 0; id < forms_.size(); ++id)
    if (forms_.whole(id) || at(id).every_row) memory.param_store.gradient(id);
}

std::size_t KernelUpdate::forecast(const Memory& memory, const CellKernels& kernels,
                                   const StepRequest& request) {
  make_gradients(memory, kernels);
  std::size_t bytes = 0;
  std::int64_t blocks = 0;
  for (ir::ParamId id = 0; id < forms_.size(); ++id) {
    if (forms_.whole(id)) blocks += square_blocks(std::int64_t(size(id)));
    if (forms_.has_rows(id))
      bytes += at(id).sums.forecast(memory, kernels, id, forms_.width(id),
                                    request.accumulates() && is_sparse(id));
  }
  blocks_.reserve(std::size_t(blocks));
  return bytes;
}

Staged KernelUpdate::staged(const Memory& memory, const CellKernels& kernels,
                            const StepRequest& request) {
  // Pointers and rates: a few per param for each kind of work.
  constexpr std::size_t some_launches = 8, bytes_each = 512;
  Staged result{.bytes = bytes_each * (params_.size() + some_launches), .launches = some_launches};
  if (!request.backward()) return result;
  forms_.classify(kernels);
  for (ir::ParamId id = 0; id < forms_.size(); ++id) {
    result.launches += 2;
    if (forms_.has_rows(id))
      result += at(id).sums.staged(memory, kernels, id, forms_.width(id),
                                   request.accumulates() && is_sparse(id));
  }
  return result;
}

void KernelUpdate::collect(const Memory& memory, const CellKernels& kernels,
                           const StepRequest& request) {
  forms_.classify(kernels);
  std::vector<ir::ParamId> unwritten;
  for (ir::ParamId id = 0; id < forms_.size(); ++id) {
    Param& param = at(id);
    if (forms_.has_rows(id) || forms_.rows(id)) {
      // Carried rows are perhaps added to a gradient that a new cell made dense.
      param.sums.collect(memory, kernels, id, forms_.width(id),
                         request.accumulates() && is_sparse(id), plan_);
      if (forms_.whole(id)) param.sums.add_to(memory.param_store.gradient(id).data(), plan_);
    }
    const bool holds_sums = request.accumulates() && param.collected != GradientForm::none;
    if (forms_.whole(id) && !forms_.written(id) && !holds_sums) unwritten.push_back(id);
    param.collected = forms_.form(id);
  }
  clear(memory.param_store, unwritten);
  measure_norm(memory.param_store);
  plan_.run();
}

void KernelUpdate::clear(ParamStore& params, const std::vector<ir::ParamId>& ids) {
  if (ids.empty()) return;
  std::vector<const void*> buffers;
  for (const ir::ParamId id : ids) buffers.push_back(params.gradient(id).data());
  const auto make = [&] {
    std::vector<std::int64_t> sizes;
    for (const ir::ParamId id : ids) sizes.push_back(std::int64_t(size(id)));
    return plan_.compile(clear_kernel(sizes));
  };
  plan_.add(kernel_for(clear_kernels_, ids, make), buffers);
}

void KernelUpdate::measure_norm(ParamStore& params) {
  std::vector<GradientForm> collected;
  std::vector<std::int64_t> sizes;
  std::vector<ir::ParamId> sparse;
  std::int64_t blocks = 0;
  for (ir::ParamId id = 0; id < forms_.size(); ++id) {
    collected.push_back(at(id).collected);
    if (is_sparse(id)) sparse.push_back(id);
    if (collected.back() != GradientForm::whole) continue;
    sizes.push_back(std::int64_t(size(id)));
    blocks += square_blocks(sizes.back());
  }
  if (!norm_ || collected != squares_of_) {
    const auto rows = sparse.empty() ? 0 : std::int64_t(forms_.width(sparse.front()));
    if (!sizes.empty() || rows > 0) squares_ = plan_.compile(squares_kernel(sizes, rows));
    norm_ = plan_.compile(norm_kernel(blocks, int(sparse.size())));
    squares_of_ = collected;
  }
  blocks_.reserve(std::size_t(blocks));
  std::vector<const void*> of_squares, of_norm{results_.for_norm(), blocks_.data()};
  for (const ir::ParamId id : sparse) {
    RowSums& rows = at(id).sums;
    const auto count = std::int32_t(rows.touched().size());
    of_norm.push_back(plan_.place(std::span(&count, 1)));
    of_norm.push_back(rows.blocks());
    if (id == sparse.front()) {
      of_squares = {rows.sums(), rows.blocks()};
      continue;
    }
    const auto n = std::int64_t(forms_.width(id));
    plan_.add(kernel_for(row_squares_, n, [&] { return plan_.compile(squares_kernel({}, n)); }),
              {rows.sums(), rows.blocks(), blocks_.data()}, count);
  }
  of_squares.push_back(blocks_.data());
  for (ir::ParamId id = 0; id < forms_.size(); ++id)
    if (collected[std::size_t(id)] == GradientForm::whole)
      of_squares.push_back(params.gradient(id).data());
  const std::size_t rows = sparse.empty() ? 0 : at(sparse.front()).sums.touched().size();
  if (!sizes.empty() || !sparse.empty()) plan_.add(*squares_, of_squares, std::int64_t(rows));
  plan_.add(*norm_, of_norm);
}

void KernelUpdate::adopt(Optimizer& optimizer) {
  optimizer.prepare(stored_);
  UpdateExpression* const update = optimizer.expression();
  if (update && state_.attach(*update, params_.size())) update_kernels_.clear();
  for (ir::ParamId id = 0; id < forms_.size(); ++id)
    at(id).every_row = update && stored_[std::size_t(id)].reached && optimizer.updates(id) &&
                       optimizer.updates_every_row(id);
}

void KernelUpdate::apply(ParamStore& params, Optimizer& optimizer) {
  adopt(optimizer);
  UpdateExpression* const update = optimizer.expression();
  if (!update) return apply_on_host(params, optimizer);
  try {
    apply_by_kernels(params, optimizer, *update);
  } catch (...) {
    plan_.drop();  // what was added before the optimizer threw
    throw;
  }
  results_.fetch();  // the only wait of a step
  optimizer.begin_step({norm(), 1.0});
}

void KernelUpdate::apply_by_kernels(ParamStore& params, Optimizer& optimizer,
                                    UpdateExpression& update) {
  constexpr std::size_t most = UpdateExpression::most_rates;
  rates_.assign(params_.size() * most, 0);
  for (ir::ParamId id = 0; id < forms_.size(); ++id)
    update.next_rates(id, std::span(rates_).subspan(std::size_t(id) * most, most));
  const float* const rates = plan_.place(rates_);
  const float norm =
      update.clip_norm() > 0 ? float(update.clip_norm()) : std::numeric_limits<float>::infinity();
  const float* const clip = plan_.place(std::span(&norm, 1));

  std::vector<Updated> by_rows, whole;
  std::vector<ir::ParamId> densified;  // sparse gradients of params whose every row changes
  for (ir::ParamId id = 0; id < forms_.size(); ++id) {
    if (at(id).collected == GradientForm::none || !optimizer.updates(id)) continue;
    const auto floats = std::int64_t(size(id));
    if (is_sparse(id) && !optimizer.updates_every_row(id)) {
      by_rows.push_back({id, floats, std::int64_t(forms_.width(id))});
      continue;
    }
    whole.push_back({id, floats});
    if (is_sparse(id)) densified.push_back(id);
  }
  std::vector<Updated> all = by_rows;
  all.insert(all.end(), whole.begin(), whole.end());

  clear(params, densified);
  for (const ir::ParamId id : densified) at(id).sums.add_to(params.gradient(id).data(), plan_);
  // One launch has rows of one param only.
  for (std::size_t i = 1; i < by_rows.size(); ++i)
    add_update(params, update, {by_rows[i]}, clip, rates);
  if (!by_rows.empty()) whole.insert(whole.begin(), by_rows.front());
  add_update(params, update, whole, clip, rates);
  plan_.run();
  for (const Updated& updated : all) params.changed_on_device(updated.param);
}

/// Adds the update of params of which only the first may be updated by rows.
void KernelUpdate::add_update(ParamStore& params, UpdateExpression& update,
                              const std::vector<Updated>& updated, const float* clip,
                              const float* rates) {
  if (updated.empty()) return;
  std::vector<const void*> buffers{results_.for_norm(), clip, rates};
  for (const Updated& param : updated) {
    const RowSums& rows = at(param.param).sums;
    buffers.push_back(params.data(param.param));
    buffers.push_back(param.width > 0 ? rows.sums() : params.gradient(param.param).data());
    if (param.width > 0) buffers.push_back(plan_.place(rows.touched()));
    for (const Buffer<float>& kept : state_.of(param.param)) buffers.push_back(kept.data());
  }
  const Updated& first = updated.front();
  const std::size_t count = first.width > 0 ? at(first.param).sums.touched().size() : 0;
  const auto make = [&] { return plan_.compile(update_kernel(update, updated)); };
  plan_.add(kernel_for(update_kernels_, updated, make), buffers, std::int64_t(count));
}

/// For optimizers that are not given as an expression.
void KernelUpdate::apply_on_host(ParamStore& params, Optimizer& optimizer) {
  optimizer.begin_step({norm(), 1.0});
  for (ir::ParamId id = 0; id < forms_.size(); ++id) {
    if (at(id).collected == GradientForm::none || !optimizer.updates(id)) continue;
    params.mark_changed(id);
    optimizer.update(id, 0, params.values(id), dense_gradient(params, id));
  }
}

std::vector<float> KernelUpdate::dense_gradient(ParamStore& params, ir::ParamId id) {
  std::vector<float> dense(params.size(id), 0.F);
  const Param& param = at(id);
  if (param.collected == GradientForm::none) return dense;
  if (param.collected == GradientForm::whole) {
    plan_.memory().read(dense.data(), params.gradient(id).data(), dense.size() * sizeof(float));
    return dense;
  }
  const std::size_t n = forms_.width(id);
  const std::vector<std::int32_t>& touched = param.sums.touched();
  std::vector<float> sums(touched.size() * n);
  plan_.memory().read(sums.data(), param.sums.sums(), sums.size() * sizeof(float));
  for (std::size_t i = 0; i < touched.size(); ++i)
    std::copy_n(sums.data() + i * n, n, dense.data() + std::size_t(touched[i]) * n);
  return dense;
}

}  // namespace espalier::runtime
