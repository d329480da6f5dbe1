#include "runtime/update/device_update.h"

#include <algorithm>
#include <limits>

#include "runtime/step/inputs.h"

namespace espalier::runtime {
namespace {

/// The kernel for `key`; made the first time.
template <class Kernels, class Key, class Make>
const codegen::CompiledKernel& kernel_for(Kernels& kernels, const Key& key, const Make& make) {
  for (const auto& [known, kernel] : kernels)
    if (known == key) return *kernel;
  kernels.emplace_back(key, make());
  return *kernels.back().second;
}

}  // namespace

DeviceUpdate::DeviceUpdate(const ir::Program& program, const std::vector<StoredParam>& stored,
                           MemoryCounter& counter, Executor& executor, codegen::Compiler& compiler)
    : program_(program),
      plan_(executor, compiler),
      stored_(stored),
      losses_(counter, executor.memory()),
      state_(counter, *executor.memory()),
      blocks_(counter, executor.memory()) {
  for (std::size_t p = 0; p < stored_.size(); ++p)
    params_.push_back({.gradient = {counter, executor.memory()}});
}

std::size_t DeviceUpdate::width(ir::ParamId param) const {
  const ir::Shape& shape = program_.params[std::size_t(param)].shape;
  return std::size_t(shape.size() / shape[0]);
}

void DeviceUpdate::write_inputs(const Memory& memory, Placement& placement, std::size_t first) {
  visit_inputs(memory, placement, first, [&](const InputRows& rows) {
    recorded_.clear();
    for (std::size_t i = 0; i < rows.instances.size(); ++i)
      recorded_.insert(recorded_.end(), rows.row(i).begin(), rows.row(i).end());
    const auto n = std::int64_t(rows.elements);
    const auto make = [&] { return plan_.compile(input_kernel(n, std::int64_t(rows.stride()))); };
    plan_.add(kernel_for(inputs_, n, make),
              {plan_.place(recorded_),
               memory.arenas.value(rows.state, rows.field) + rows.first_row * rows.stride()},
              std::int64_t(rows.instances.size()));
  });
  plan_.run();
}

void DeviceUpdate::repack(ParamStore& param_store) {
  std::vector<codegen::Packing> stale;
  std::vector<const void*> buffers;
  param_store.repack_with([&](const codegen::Packing& packing, float* copy) {
    stale.push_back(packing);
    buffers.push_back(copy);
  });
  if (stale.empty()) return;
  for (const ir::ParamId param : pack_params(stale)) buffers.push_back(param_store.data(param));
  plan_.add(kernel_for(packs_, stale, [&] { return plan_.compile(pack_kernel(stale)); }), buffers);
  plan_.run();
}

void DeviceUpdate::seed_losses(const Memory& memory, Placement& placement, float scale) {
  losses_.seed(memory, placement, scale, plan_);
  plan_.run();
}

void DeviceUpdate::gather_losses(const Memory& memory, Placement& placement) {
  losses_.gather(memory, placement, plan_);
  plan_.run();
}

void DeviceUpdate::classify(const CellKernels& kernels) {
  for (Param& param : params_) param.dense = param.rows = false;
  for (const auto& module : kernels.training_kernels()) {
    for (const ir::ParamId param : module->first_writes) params_[std::size_t(param)].dense = true;
    for (const RowContribution& c : module->rows) params_[std::size_t(c.param)].rows = true;
  }
}

void DeviceUpdate::clear(ParamStore& param_store, const std::vector<ir::ParamId>& params) {
  if (params.empty()) return;
  std::vector<const void*> buffers;
  for (const ir::ParamId param : params) buffers.push_back(param_store.gradient(param).data());
  const auto make = [&] {
    std::vector<std::int64_t> sizes;
    for (const ir::ParamId param : params)
      sizes.push_back(std::int64_t(stored_[std::size_t(param)].size));
    return plan_.compile(clear_kernel(sizes));
  };
  plan_.add(kernel_for(clears_, params, make), buffers);
}

void DeviceUpdate::collect(const Memory& memory, const CellKernels& kernels, bool accumulates) {
  classify(kernels);
  std::vector<ir::ParamId> unwritten;
  for (std::size_t p = 0; p < params_.size(); ++p) {
    const auto id = ir::ParamId(p);
    Param& param = params_[p];
    if (!stored_[p].reached) continue;
    if (param.rows) {
      // Perhaps into what a new cell made dense.
      param.gradient.collect(memory, kernels, id, width(id), accumulates && param.only_rows, plan_);
      param.only_rows = is_sparse(p);
      if (param.dense) param.gradient.add_to(memory.param_store.gradient(id).data(), plan_);
    } else if (!param.dense && !accumulates) {
      unwritten.push_back(id);
    }
  }
  clear(memory.param_store, unwritten);
  measure_norm(memory.param_store);
  plan_.run();
}

void DeviceUpdate::measure_norm(ParamStore& param_store) {
  std::vector<bool> dense;
  std::vector<std::int64_t> sizes;
  std::vector<ir::ParamId> sparse;
  std::int64_t blocks = 0;
  for (std::size_t p = 0; p < params_.size(); ++p) {
    dense.push_back(is_whole(p));
    if (is_sparse(p)) sparse.push_back(ir::ParamId(p));
    if (!dense.back()) continue;
    sizes.push_back(std::int64_t(stored_[p].size));
    blocks += square_blocks(sizes.back());
  }
  if (!norm_ || dense != squares_of_) {
    const auto rows = sparse.empty() ? 0 : std::int64_t(width(sparse.front()));
    if (!sizes.empty() || rows > 0) squares_ = plan_.compile(squares_kernel(sizes, rows));
    norm_ = plan_.compile(norm_kernel(blocks, int(sparse.size())));
    squares_of_ = dense;
  }
  blocks_.reserve(std::size_t(blocks));
  std::vector<const void*> of_squares, of_norm{losses_.norm_place(), blocks_.data()};
  for (const ir::ParamId id : sparse) {
    DeviceRows& rows = params_[std::size_t(id)].gradient;
    const auto count = std::int32_t(rows.touched().size());
    of_norm.push_back(plan_.place(std::span(&count, 1)));
    of_norm.push_back(rows.blocks());
    if (id == sparse.front()) {
      of_squares = {rows.sums(), rows.blocks()};
      continue;
    }
    const auto n = std::int64_t(width(id));
    plan_.add(kernel_for(row_squares_, n, [&] { return plan_.compile(squares_kernel({}, n)); }),
              {rows.sums(), rows.blocks(), blocks_.data()}, count);
  }
  of_squares.push_back(blocks_.data());
  for (std::size_t p = 0; p < params_.size(); ++p)
    if (dense[p]) of_squares.push_back(param_store.gradient(ir::ParamId(p)).data());
  const std::size_t rows =
      sparse.empty() ? 0 : params_[std::size_t(sparse.front())].gradient.touched().size();
  if (!sizes.empty() || !sparse.empty()) plan_.add(*squares_, of_squares, std::int64_t(rows));
  plan_.add(*norm_, of_norm);
}

void DeviceUpdate::make_gradients(const Memory& memory, const CellKernels& kernels) {
  classify(kernels);
  for (std::size_t p = 0; p < params_.size(); ++p)
    if (is_whole(p) || params_[p].whole) memory.param_store.gradient(ir::ParamId(p));
}

std::size_t DeviceUpdate::prepare(const Memory& memory, const CellKernels& kernels, bool) {
  make_gradients(memory, kernels);
  std::size_t bytes = 0;
  std::int64_t blocks = 0;
  for (std::size_t p = 0; p < params_.size(); ++p) {
    const auto id = ir::ParamId(p);
    if (!stored_[p].reached) continue;
    const bool sparse = is_sparse(p);
    if (!sparse) blocks += square_blocks(std::int64_t(stored_[p].size));
    if (params_[p].rows) bytes += params_[p].gradient.forecast(memory, kernels, id, width(id));
  }
  blocks_.reserve(std::size_t(blocks));
  return bytes;
}

Staged DeviceUpdate::staged(const Memory& memory, const CellKernels& kernels, Placement& placement,
                            bool gradients, bool accumulates) {
  // Pointers and rates: some a param for each thing that is done.
  constexpr std::size_t some_launches = 8, bytes_each = 512;
  Staged result = DeviceLosses::staged(placement, gradients);
  result.launches += some_launches;
  result.bytes += bytes_each * (params_.size() + some_launches);
  visit_inputs(memory, placement, 0, [&](const InputRows& rows) {
    result.add(rows.instances.size() * rows.elements * sizeof(float));
    result.add(2 * sizeof(void*));
    ++result.launches;
  });
  if (!gradients) return result;
  classify(kernels);
  for (std::size_t p = 0; p < params_.size(); ++p) {
    result.launches += 2;
    if (!has_rows(p)) continue;
    const auto id = ir::ParamId(p);
    const Staged rows = params_[p].gradient.staged(memory, kernels, id, width(id),
                                                   accumulates && params_[p].only_rows);
    result.bytes += rows.bytes;
    result.launches += rows.launches;
  }
  return result;
}

void DeviceUpdate::adopt(Optimizer& optimizer) {
  optimizer.prepare(stored_);
  UpdateExpression* const update = optimizer.expression();
  if (update && state_.attach(*update, params_.size())) updates_.clear();
  for (std::size_t p = 0; p < params_.size(); ++p) {
    params_[p].updated = stored_[p].reached && optimizer.updates(ir::ParamId(p));
    params_[p].whole = params_[p].updated && update && optimizer.updates_every_row(ir::ParamId(p));
  }
}

void DeviceUpdate::apply(ParamStore& param_store, Optimizer& optimizer) {
  adopt(optimizer);
  UpdateExpression* const update = optimizer.expression();
  if (!update) return apply_on_host(param_store, optimizer);
  try {
    apply_here(param_store, optimizer, *update);
  } catch (...) {
    plan_.drop();  // what was to run before the optimizer threw
    throw;
  }
  losses_.fetch(plan_);  // the only wait of a step
  optimizer.begin_step({norm(), 1.0});
}

void DeviceUpdate::apply_here(ParamStore& param_store, Optimizer& optimizer,
                              UpdateExpression& update) {
  constexpr std::size_t most = UpdateExpression::most_rates;
  rates_.assign(params_.size() * most, 0);
  for (std::size_t p = 0; p < params_.size(); ++p)
    update.next_rates(ir::ParamId(p), std::span(rates_).subspan(p * most, most));
  const float* const rates = plan_.place(rates_);
  const float norm =
      update.clip_norm() > 0 ? float(update.clip_norm()) : std::numeric_limits<float>::infinity();
  const float* const clip = plan_.place(std::span(&norm, 1));

  std::vector<Updated> by_rows, whole;
  std::vector<ir::ParamId> densified;  // what changes in every row has a dense gradient
  for (std::size_t p = 0; p < params_.size(); ++p) {
    const auto id = ir::ParamId(p);
    const auto size = std::int64_t(stored_[p].size);
    if (!params_[p].updated) continue;
    if (!is_sparse(p)) {
      whole.push_back({id, size});
    } else if (optimizer.updates_every_row(id)) {
      whole.push_back({id, size});
      densified.push_back(id);
    } else {
      by_rows.push_back({id, size, std::int64_t(width(id))});
    }
  }
  clear(param_store, densified);
  for (const ir::ParamId id : densified)
    params_[std::size_t(id)].gradient.add_to(param_store.gradient(id).data(), plan_);
  // One launch has rows of one param only.
  for (std::size_t i = 1; i < by_rows.size(); ++i)
    this->update(param_store, update, {by_rows[i]}, clip, rates);
  if (!by_rows.empty()) whole.insert(whole.begin(), by_rows.front());
  this->update(param_store, update, whole, clip, rates);
  plan_.run();
  for (std::size_t p = 0; p < params_.size(); ++p)
    if (params_[p].updated) param_store.changed_on_device(ir::ParamId(p));
}

/// Adds the update of params of which the first may be updated by rows.
void DeviceUpdate::update(ParamStore& param_store, UpdateExpression& update,
                          const std::vector<Updated>& params, const float* clip,
                          const float* rates) {
  if (params.empty()) return;
  std::vector<const void*> buffers{losses_.norm_place(), clip, rates};
  for (const Updated& param : params) {
    const DeviceRows& rows = params_[std::size_t(param.param)].gradient;
    buffers.push_back(param_store.data(param.param));
    buffers.push_back(param.width > 0 ? rows.sums() : param_store.gradient(param.param).data());
    if (param.width > 0) buffers.push_back(plan_.place(rows.touched()));
    for (const Buffer<float>& kept : state_.of(param.param)) buffers.push_back(kept.data());
  }
  const bool by_rows = params.front().width > 0;
  plan_.add(
      kernel_for(updates_, params, [&] { return plan_.compile(update_kernel(update, params)); }),
      buffers,
      by_rows ? std::int64_t(params_[std::size_t(params.front().param)].gradient.touched().size())
              : 0);
}

/// For optimizers that are not known as an expression.
void DeviceUpdate::apply_on_host(ParamStore& param_store, Optimizer& optimizer) {
  optimizer.begin_step({norm(), 1.0});
  for (std::size_t p = 0; p < params_.size(); ++p) {
    const auto id = ir::ParamId(p);
    if (!params_[p].updated) continue;
    param_store.mark_changed(id);
    optimizer.update(id, 0, param_store.values(id), dense_gradient(param_store, id));
  }
}

std::vector<float> DeviceUpdate::dense_gradient(ParamStore& param_store, ir::ParamId id) {
  const Param& param = params_[std::size_t(id)];
  std::vector<float> dense(param_store.size(id), 0.F);
  if (!stored_[std::size_t(id)].reached) return dense;
  if (is_whole(std::size_t(id))) {
    plan_.memory().read(dense.data(), param_store.gradient(id).data(),
                        dense.size() * sizeof(float));
    return dense;
  }
  const std::size_t n = width(id);
  const std::vector<std::int32_t>& touched = param.gradient.touched();
  std::vector<float> sums(touched.size() * n);
  plan_.memory().read(sums.data(), param.gradient.sums(), sums.size() * sizeof(float));
  for (std::size_t i = 0; i < touched.size(); ++i)
    std::copy_n(sums.data() + i * n, n, dense.data() + std::size_t(touched[i]) * n);
  return dense;
}

}  // namespace espalier::runtime
