#include "runtime/device_update.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ir/error.h"
#include "runtime/step_kernels.h"

namespace espalier::runtime {

/// Rows that one cell contributes to a param, brought into the order of the rows they belong to.
struct DeviceUpdate::Source {
  const float* from = nullptr;
  std::int64_t stride = 0;
  std::vector<std::int32_t> offsets, entries;
  Compiled sums[2] = {};  // for the first source and the others
  std::int64_t sums_stride = 0;
};

struct DeviceUpdate::Param {
  Param(MemoryCounter& counter, DeviceMemory* memory)
      : sums(counter, memory), carried(counter, memory), blocks(counter, memory) {}

  bool dense = false;  ///< some cell's weight kernel writes the gradient
  bool rows = false;   ///< row contributions exist
  std::vector<Source> sources;
  std::size_t source_count = 0;
  std::vector<std::int32_t> touched, slots;  // slot → row, row → slot or -1
  std::vector<std::int32_t> count;           // of touched rows: one number
  Buffer<float> sums, carried, blocks;
  std::vector<Buffer<float>> kept;
  Compiled clear = nullptr, add_rows = nullptr, row_squares = nullptr, update = nullptr;
  bool updated_by_rows = false;

  /// Whether its gradient is a list of rows.
  bool sparse() const { return rows && !dense; }
};

struct DeviceUpdate::Home final : KeptElsewhere {
  DeviceUpdate* owner = nullptr;
  UpdateExpression* update = nullptr;
  void bring_back() override {
    if (owner) owner->bring_back();
  }
};

namespace {

struct CountedRows final : LaunchRows {
  explicit CountedRows(std::int64_t count) { end = count; }
  std::pair<std::int64_t, std::int64_t> children(int) const override { return {0, 0}; }
};

}  // namespace

DeviceUpdate::DeviceUpdate(const ir::Program& program, MemoryCounter& counter, Executor& executor,
                           codegen::Compiler& compiler)
    : program_(program),
      executor_(executor),
      compiler_(compiler),
      results_(counter, executor.memory()),
      blocks_(counter, executor.memory()),
      control_(counter, executor.memory()) {
  for (const ir::Param& param : program.params) {
    params_.emplace_back(counter, executor.memory());
    stored_.push_back({param.name, param.shape, std::size_t(param.shape.size())});
  }
}

DeviceUpdate::~DeviceUpdate() {
  if (!home_) return;
  // If the optimizer is still there, it gets its state.
  try {
    if (home_.use_count() > 1) bring_back();
  } catch (const std::exception&) {
    // The device has failed, and said so before.
  }
  if (home_) home_->owner = nullptr;
}

const codegen::CompiledKernel& DeviceUpdate::compile(codegen::Kernel kernel) {
  return compiler_.compile(std::move(kernel));
}

void DeviceUpdate::add(const codegen::CompiledKernel& kernel, std::span<const void* const> buffers,
                       std::int64_t count) {
  internal_check(buffers.size() == kernel.kernel.buffers.size(), "kernel '{}': {} buffers for {}",
                 kernel.kernel.name, buffers.size(), kernel.kernel.buffers.size());
  for (const void* buffer : buffers) plan_.bind(const_cast<void*>(buffer));
  plan_.add(kernel, CountedRows(count));
}

void DeviceUpdate::run() {
  executor_.run(plan_, nullptr);
  plan_.clear();
}

template <class T>
const T* DeviceUpdate::place(const std::vector<T>& values) {
  return static_cast<const T*>(executor_.place(values.data(), values.size() * sizeof(T)));
}

std::size_t DeviceUpdate::width(ir::ParamId param) const {
  const ir::Shape& shape = program_.params[std::size_t(param)].shape;
  return std::size_t(shape.size() / shape[0]);
}

void DeviceUpdate::repack(Parameters& parameters) {
  std::vector<const void*> buffers;
  parameters.repack_with([&](const codegen::Packing& packing, float* copy) {
    auto found = std::ranges::find(packs_, packing, &std::pair<codegen::Packing, Compiled>::first);
    if (found == packs_.end())
      found = packs_.insert(packs_.end(), {packing, &compile(pack_kernel(packing))});
    buffers.assign(1, copy);
    for (const ir::ParamId param : pack_params(packing)) buffers.push_back(parameters.data(param));
    add(*found->second, buffers);
  });
  run();
}

namespace {

template <class Make>
const codegen::CompiledKernel* by_stride(
    std::vector<std::pair<std::int64_t, const codegen::CompiledKernel*>>& kernels,
    std::int64_t stride, const Make& make) {
  for (const auto& [known, kernel] : kernels)
    if (known == stride) return kernel;
  kernels.emplace_back(stride, make());
  return kernels.back().second;
}

std::int64_t scalar_stride() { return codegen::row_stride(1); }

}  // namespace

void DeviceUpdate::seed_losses(const Memory& memory, Placement& placement, float scale) {
  const auto losses = placement.losses();
  const Compiled seed =
      by_stride(seeds_, scalar_stride(), [&] { return &compile(seed_kernel(scalar_stride())); });
  const void* const times = executor_.place(&scale, sizeof scale);
  // Runs of losses of one state.
  for (std::size_t begin = 0, end; begin < losses.size(); begin = end) {
    const ir::StateId state = placement.state(losses[begin]);
    for (end = begin + 1; end < losses.size() && placement.state(losses[end]) == state;) ++end;
    const void* const rows = executor_.place(memory.layout.loss_rows.data() + begin,
                                             (end - begin) * sizeof(std::int32_t));
    add(*seed, {times, rows, memory.arenas.gradient(state, 0)}, std::int64_t(end - begin));
  }
  run();
}

void DeviceUpdate::gather_losses(const Memory& memory, Placement& placement) {
  if (losses_ > 0) {  // of an earlier part of the minibatch
    fetch();
    for (std::size_t i = 0; i < losses_; ++i) loss_ += fetched_[1 + i];
  }
  const auto losses = placement.losses();
  losses_ = losses.size();
  // The norm is there already, and stays.
  results_.reserve(1 + losses_, /*keep=*/true);
  fetched_is_fresh_ = false;
  const Compiled gather = by_stride(gathers_, scalar_stride(),
                                    [&] { return &compile(gather_kernel(scalar_stride())); });
  for (std::size_t begin = 0, end; begin < losses.size(); begin = end) {
    const ir::StateId state = placement.state(losses[begin]);
    loss_places_.clear();
    loss_rows_.clear();
    for (end = begin; end < losses.size() && placement.state(losses[end]) == state; ++end) {
      loss_places_.push_back(std::int32_t(1 + end));
      loss_rows_.push_back(std::int32_t(memory.layout.rows[losses[end]]));
    }
    add(*gather,
        {place(loss_places_), place(loss_rows_), memory.arenas.value(state, 0), results_.data()},
        std::int64_t(end - begin));
  }
  run();
}

void DeviceUpdate::fetch() {
  if (fetched_is_fresh_) return;
  fetched_.resize(1 + losses_);
  executor_.memory()->read(fetched_.data(), results_.data(), fetched_.size() * sizeof(float));
  fetched_is_fresh_ = true;
}

double DeviceUpdate::take_loss() {
  if (losses_ > 0) fetch();
  double loss = std::exchange(loss_, 0);
  for (std::size_t i = 0; i < losses_; ++i) loss += fetched_[1 + i];
  losses_ = 0;
  return loss;
}

double DeviceUpdate::norm() {
  fetch();
  return fetched_.empty() ? 0 : std::sqrt(double(fetched_[0]));
}

void DeviceUpdate::classify(const Modules& modules) {
  for (Param& param : params_) param.dense = param.rows = false;
  for (const auto& module : modules.training_modules()) {
    for (const ir::ParamId param : module->first_writes) params_[std::size_t(param)].dense = true;
    for (const RowContribution& c : module->rows) params_[std::size_t(c.param)].rows = true;
  }
}

/// Finds the rows of `id` that contributions exist for, and which belong to each.
void DeviceUpdate::collect_sources(const Memory& memory, const Modules& modules, ir::ParamId id,
                                   bool accumulates) {
  Param& param = params_[std::size_t(id)];
  param.slots.resize(memory.parameters.size(id) / width(id), -1);
  for (const std::int32_t row : param.touched) param.slots[std::size_t(row)] = -1;
  std::vector<std::int32_t> before;
  if (accumulates && param.sparse()) {
    std::swap(param.sums, param.carried);
    before = param.touched;
  }
  param.touched.clear();

  struct Contribution {
    std::span<const std::int32_t> rows;
    const float* from;
    std::int64_t stride;
  };
  std::vector<Contribution> all;
  if (!before.empty()) all.push_back({before, param.carried.data(), std::int64_t(width(id))});
  const auto& modules_of = modules.training_modules();
  for (std::size_t cell = 0; cell < modules_of.size(); ++cell)
    for (const RowContribution& c : modules_of[cell]->rows)
      if (c.param == id && memory.indices.row_counts()[cell] > 0)
        all.push_back({memory.layout.cells[cell].ports[std::size_t(c.index_port)].values,
                       memory.arenas.contribution(ir::CellId(cell), c.contribution),
                       codegen::row_stride(std::int64_t(width(id)))});
  for (const Contribution& c : all)
    for (const std::int32_t row : c.rows) {
      std::int32_t& slot = param.slots[std::size_t(row)];
      if (slot >= 0) continue;
      slot = std::int32_t(param.touched.size());
      param.touched.push_back(row);
    }

  param.source_count = all.size();
  if (param.sources.size() < all.size()) param.sources.resize(all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    Source& source = param.sources[i];
    source.from = all[i].from;
    source.stride = all[i].stride;
    // Entries by slot, in their order.
    source.offsets.assign(param.touched.size() + 1, 0);
    for (const std::int32_t row : all[i].rows)
      ++source.offsets[std::size_t(param.slots[std::size_t(row)]) + 1];
    for (std::size_t s = 1; s < source.offsets.size(); ++s)
      source.offsets[s] += source.offsets[s - 1];
    source.entries.resize(all[i].rows.size());
    for (std::size_t e = 0; e < all[i].rows.size(); ++e)
      source.entries[std::size_t(
          source.offsets[std::size_t(param.slots[std::size_t(all[i].rows[e])])]++)] =
          std::int32_t(e);
    std::shift_right(source.offsets.begin(), source.offsets.end(), 1);
    source.offsets[0] = 0;
  }
}

void DeviceUpdate::clear(Parameters& parameters, ir::ParamId id) {
  Param& param = params_[std::size_t(id)];
  if (!param.clear)
    param.clear = &compile(clear_kernel(std::int64_t(stored_[std::size_t(id)].size)));
  add(*param.clear, {parameters.gradient(id).data()});
}

void DeviceUpdate::sum_rows(Parameters& parameters, ir::ParamId id) {
  Param& param = params_[std::size_t(id)];
  const auto n = std::int64_t(width(id)), count = std::int64_t(param.touched.size());
  param.sums.reserve(std::size_t(count * n));
  for (std::size_t i = 0; i < param.source_count; ++i) {
    Source& source = param.sources[i];
    if (source.sums_stride != source.stride) source.sums[0] = source.sums[1] = nullptr;
    source.sums_stride = source.stride;
    Compiled& kernel = source.sums[i > 0];
    if (!kernel) kernel = &compile(row_sums_kernel(n, source.stride, i == 0));
    add(*kernel, {place(source.offsets), place(source.entries), source.from, param.sums.data()},
        count);
  }
  if (!param.dense) return;
  if (!param.add_rows) param.add_rows = &compile(add_rows_kernel(n));
  add(*param.add_rows, {place(param.touched), param.sums.data(), parameters.gradient(id).data()},
      count);
}

void DeviceUpdate::collect(const Memory& memory, const Modules& modules, bool accumulates) {
  classify(modules);
  for (std::size_t p = 0; p < params_.size(); ++p) {
    const auto id = ir::ParamId(p);
    Param& param = params_[p];
    if (param.rows) {
      collect_sources(memory, modules, id, accumulates);
      sum_rows(memory.parameters, id);
    } else if (!param.dense && !accumulates) {
      clear(memory.parameters, id);
    }
  }
  measure_norm(memory.parameters);
  run();
}

void DeviceUpdate::measure_norm(Parameters& parameters) {
  results_.reserve(1, /*keep=*/true);
  fetched_is_fresh_ = false;
  std::vector<bool> dense;
  std::vector<std::int64_t> sizes;
  std::int64_t blocks = 0;
  for (std::size_t p = 0; p < params_.size(); ++p) {
    dense.push_back(!params_[p].sparse());
    if (!dense.back()) continue;
    sizes.push_back(std::int64_t(stored_[p].size));
    blocks += square_blocks(sizes.back());
  }
  if (!norm_ || dense != squares_of_) {
    squares_ = sizes.empty() ? nullptr : &compile(squares_kernel(sizes));
    norm_ = &compile(norm_kernel(blocks, int(std::ranges::count(dense, false))));
    squares_of_ = dense;
  }
  blocks_.reserve(std::size_t(blocks));
  std::vector<const void*> of_squares{blocks_.data()};
  std::vector<const void*> of_norm{results_.data(), blocks_.data()};
  for (std::size_t p = 0; p < params_.size(); ++p) {
    Param& param = params_[p];
    const auto id = ir::ParamId(p);
    if (!param.sparse()) {
      of_squares.push_back(parameters.gradient(id).data());
      continue;
    }
    const std::size_t count = param.touched.size();
    param.blocks.reserve(count);
    if (!param.row_squares)
      param.row_squares = &compile(row_squares_kernel(std::int64_t(width(id))));
    add(*param.row_squares, {param.sums.data(), param.blocks.data()}, std::int64_t(count));
    param.count.assign(1, std::int32_t(count));
    of_norm.push_back(place(param.count));
    of_norm.push_back(param.blocks.data());
  }
  if (squares_) add(*squares_, of_squares);
  add(*norm_, of_norm);
}

std::size_t DeviceUpdate::prepare(const Memory& memory, const Modules& modules, bool) {
  classify(modules);
  std::size_t bytes = 0;
  for (std::size_t p = 0; p < params_.size(); ++p) {
    const Param& param = params_[p];
    const auto id = ir::ParamId(p);
    if (!param.sparse()) memory.parameters.gradient(id);
    if (!param.rows) continue;
    std::size_t entries = 0;  // no more rows than these
    const auto& all = modules.training_modules();
    for (std::size_t cell = 0; cell < all.size(); ++cell)
      for (const RowContribution& c : all[cell]->rows)
        if (c.param == id)
          entries += memory.layout.cells[cell].ports[std::size_t(c.index_port)].values.size();
    const std::size_t rows = std::min(entries, memory.parameters.size(id) / width(id));
    bytes += sizeof(float) * (param.sums.capacity_for(rows * width(id)) - param.sums.capacity() +
                              param.blocks.capacity_for(rows) - param.blocks.capacity());
  }
  return bytes;
}

std::size_t DeviceUpdate::bytes() const {
  std::size_t bytes = plan_.bytes() + ir::capacity_bytes(fetched_, loss_places_, loss_rows_);
  for (const Param& param : params_) {
    bytes += ir::capacity_bytes(param.touched, param.slots);
    for (const Source& source : param.sources)
      bytes += ir::capacity_bytes(source.offsets, source.entries);
  }
  return bytes;
}

void DeviceUpdate::apply(Parameters& parameters, Optimizer& optimizer) {
  optimizer.prepare(stored_);
  UpdateExpression* const update = optimizer.expression();
  if (!update) return apply_on_host(parameters, optimizer);
  for (std::size_t p = 0; p < params_.size(); ++p) {
    // What changes in every row has a dense gradient.
    Param& param = params_[p];
    const auto id = ir::ParamId(p);
    const bool by_rows = param.sparse() && !optimizer.updates_every_row(id);
    if (by_rows != param.updated_by_rows) param.update = nullptr;
    param.updated_by_rows = by_rows;
    if (!param.sparse() || by_rows) continue;
    clear(parameters, id);
    if (!param.add_rows) param.add_rows = &compile(add_rows_kernel(std::int64_t(width(id))));
    add(*param.add_rows, {place(param.touched), param.sums.data(), parameters.gradient(id).data()},
        std::int64_t(param.touched.size()));
  }
  apply_here(parameters, *update);
  fetch();  // the only wait of a step
  optimizer.begin_step({norm(), 1.0});
}

void DeviceUpdate::apply_here(Parameters& parameters, UpdateExpression& update) {
  attach(update);
  constexpr std::size_t most = UpdateExpression::most_rates;
  rates_.assign(params_.size() * most, 0);
  for (std::size_t p = 0; p < params_.size(); ++p)
    update.next_rates(ir::ParamId(p), std::span(rates_).subspan(p * most, most));
  const float* const rates = place(rates_);
  const float clip =
      update.clip_norm() > 0 ? float(update.clip_norm()) : std::numeric_limits<float>::infinity();
  control_.reserve(2);
  if (!control_kernel_) control_kernel_ = &compile(control_kernel());
  add(*control_kernel_, {results_.data(), executor_.place(&clip, sizeof clip), control_.data()});
  std::vector<const void*> buffers;
  for (std::size_t p = 0; p < params_.size(); ++p) {
    Param& param = params_[p];
    const auto id = ir::ParamId(p);
    const auto n = std::int64_t(width(id));
    if (!param.update)
      param.update = &compile(
          update_kernel(update, id, std::int64_t(stored_[p].size), param.updated_by_rows ? n : 0));
    const float* const gradient =
        param.updated_by_rows ? param.sums.data() : parameters.gradient(id).data();
    buffers = {parameters.data(id), gradient, control_.data(), rates};
    if (param.updated_by_rows) buffers.push_back(place(param.touched));
    for (const Buffer<float>& kept : param.kept) buffers.push_back(kept.data());
    add(*param.update, buffers, std::int64_t(param.touched.size()));
  }
  run();
  for (std::size_t p = 0; p < params_.size(); ++p) parameters.changed_on_device(ir::ParamId(p));
}

/// Fetches the optimizer's state, unless it is here.
void DeviceUpdate::attach(UpdateExpression& update) {
  if (home_ && update.kept_at() == home_.get()) return;
  if (home_ && home_.use_count() > 1) bring_back();
  home_ = std::make_shared<Home>();
  update.keep_at(home_);
  home_->owner = this;
  home_->update = &update;
  for (std::size_t p = 0; p < params_.size(); ++p) {
    Param& param = params_[p];
    param.update = nullptr;
    param.kept.clear();
    for (int i = 0; i < update.kept(ir::ParamId(p)); ++i) {
      const std::span<const float> from = update.kept_values(ir::ParamId(p), i);
      param.kept.emplace_back(kept_counter_, executor_.memory()).reserve(from.size());
      executor_.memory()->write(param.kept.back().data(), from.data(), from.size_bytes());
    }
  }
}

void DeviceUpdate::bring_back() {
  UpdateExpression& update = *home_->update;
  for (std::size_t p = 0; p < params_.size(); ++p)
    for (std::size_t i = 0; i < params_[p].kept.size(); ++i) {
      const std::span<float> to = update.kept_values(ir::ParamId(p), int(i));
      executor_.memory()->read(to.data(), params_[p].kept[i].data(), to.size_bytes());
    }
  home_->owner = nullptr;
  home_.reset();
}

/// For optimizers that are not known as an expression.
void DeviceUpdate::apply_on_host(Parameters& parameters, Optimizer& optimizer) {
  optimizer.begin_step({norm(), 1.0});
  for (std::size_t p = 0; p < params_.size(); ++p) {
    const auto id = ir::ParamId(p);
    parameters.mark_changed(id);
    optimizer.update(id, 0, parameters.values(id), dense_gradient(parameters, id));
  }
}

std::vector<float> DeviceUpdate::dense_gradient(Parameters& parameters, ir::ParamId id) {
  const Param& param = params_[std::size_t(id)];
  std::vector<float> dense(parameters.size(id), 0.F);
  DeviceMemory& memory = *executor_.memory();
  if (!param.sparse()) {
    memory.read(dense.data(), parameters.gradient(id).data(), dense.size() * sizeof(float));
    return dense;
  }
  const std::size_t n = width(id);
  std::vector<float> sums(param.touched.size() * n);
  memory.read(sums.data(), param.sums.data(), sums.size() * sizeof(float));
  for (std::size_t i = 0; i < param.touched.size(); ++i)
    std::copy_n(sums.data() + i * n, n, dense.data() + std::size_t(param.touched[i]) * n);
  return dense;
}

}  // namespace espalier::runtime
