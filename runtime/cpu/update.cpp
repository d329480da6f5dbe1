#include "runtime/cpu/update.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/vector_clones.h"

namespace espalier::runtime {
namespace {

/// Floats whose squares one thread sums.
constexpr std::size_t block = 4096;

std::size_t blocks(std::size_t floats) { return (floats + block - 1) / block; }

/// Sum of squares with 16 lanes of partial sums, in one fixed order.
ESPALIER_VECTOR_CLONES double square_sum(const float* values, std::size_t size) {
  constexpr std::size_t width = 16;
  double lanes[width] = {};
  std::size_t i = 0;
  for (; i + width <= size; i += width)
    for (std::size_t lane = 0; lane < width; ++lane)
      lanes[lane] += double(values[i + lane]) * double(values[i + lane]);
  double sum = 0;
  for (; i < size; ++i) sum += double(values[i]) * double(values[i]);
  for (double lane : lanes) sum += lane;
  return sum;
}

/// The thread's share of `count` pieces of work: [first, second).
std::pair<std::size_t, std::size_t> share(std::size_t count, int thread, int threads) {
  const auto t = std::size_t(thread), n = std::size_t(threads);
  return {count * t / n, count * (t + 1) / n};
}

}  // namespace

Update::Update(const ir::Program& program, const std::vector<StoredParam>& stored,
               MemoryCounter& counter)
    : program_(program), stored_(stored) {
  for (std::size_t p = 0; p < stored_.size(); ++p)
    params_.push_back({false, false, false, SparseGradient(counter)});
}

std::size_t Update::width(ir::ParamId param) const {
  const ir::Shape& shape = program_.params[std::size_t(param)].shape;
  return std::size_t(shape.size() / shape[0]);
}

void Update::classify(const CellKernels& kernels) {
  for (Param& param : params_) param.dense = param.rows = false;
  for (const auto& module : kernels.training_kernels()) {
    for (const ir::ParamId param : module->first_writes) params_[std::size_t(param)].dense = true;
    for (const RowContribution& c : module->rows) params_[std::size_t(c.param)].rows = true;
  }
}

void Update::make_gradients(const Memory& memory, const CellKernels& kernels) {
  classify(kernels);
  for (std::size_t p = 0; p < params_.size(); ++p)
    if (is_whole(p)) memory.param_store.gradient(ir::ParamId(p));
  for (std::size_t p = 0; p < params_.size(); ++p)
    if (has_rows(p)) seen_.reserve(memory.param_store.size(ir::ParamId(p)) / width(ir::ParamId(p)));
}

std::size_t Update::prepare(const Memory& memory, const CellKernels& kernels, bool accumulates) {
  make_gradients(memory, kernels);
  std::size_t bytes = 0, squares = 0;
  for (std::size_t p = 0; p < params_.size(); ++p) {
    const Param& param = params_[p];
    const auto id = ir::ParamId(p);
    if (is_whole(p)) squares += blocks(memory.param_store.gradient(id).size());
    if (!has_rows(p)) continue;
    seen_.assign(memory.param_store.size(id) / width(id), false);
    std::size_t entries = 0;
    const auto& all = kernels.training_kernels();
    for (std::size_t cell = 0; cell < all.size(); ++cell)
      for (const RowContribution& c : all[cell]->rows) {
        if (c.param != id) continue;
        const auto& values = memory.layout.cells[cell].ports[std::size_t(c.index_port)].values;
        entries += values.size();
        for (const std::int32_t row : values) seen_[std::size_t(row)] = true;
      }
    const auto rows = std::size_t(std::ranges::count(seen_, true));
    const bool carries = accumulates && param.only_rows;
    bytes += param.sparse.growth(entries, rows, width(id), carries);
    if (!param.dense)
      squares += blocks((rows + (carries ? param.sparse.rows().size() : 0)) * width(id));
  }
  return bytes + (std::max(squares, squares_.capacity()) - squares_.capacity()) * sizeof(double);
}

std::size_t Update::bytes() const {
  std::size_t bytes = seen_.capacity() / 8 + squares_.capacity() * sizeof(double);
  for (const Param& param : params_) bytes += param.sparse.bytes();
  return bytes;
}

void Update::collect(const Memory& memory, const CellKernels& kernels, bool accumulates,
                     ThreadTeam& team) {
  classify(kernels);
  for (std::size_t p = 0; p < params_.size(); ++p) {
    if (accumulates && params_[p].only_rows)  // perhaps into what a new cell made dense
      params_[p].sparse.carry(width(ir::ParamId(p)));
    else
      params_[p].sparse.clear();
  }
  const auto& all = kernels.training_kernels();
  for (std::size_t cell = 0; cell < all.size(); ++cell) {
    for (const RowContribution& c : all[cell]->rows) {
      if (memory.indices.row_counts()[cell] == 0 || !stored_[std::size_t(c.param)].reached)
        continue;
      const std::int64_t stride = codegen::row_stride(std::int64_t(width(c.param)));
      params_[std::size_t(c.param)].sparse.add(
          memory.layout.cells[cell].ports[std::size_t(c.index_port)].values,
          memory.arenas.contribution(ir::CellId(cell), c.contribution), std::size_t(stride));
    }
  }
  for (std::size_t p = 0; p < params_.size(); ++p) {
    const auto id = ir::ParamId(p);
    if (!stored_[p].reached) continue;
    if (params_[p].rows) params_[p].sparse.sort(width(id));
    params_[p].only_rows = is_sparse(p);
    if (!params_[p].rows && !params_[p].dense && !accumulates)
      std::ranges::fill(memory.param_store.gradient(id), 0.F);
  }
  team.run([&](int thread) {
    for (std::size_t p = 0; p < params_.size(); ++p) {
      if (!has_rows(p)) continue;
      Param& param = params_[p];
      const auto [first, last] = share(param.sparse.rows().size(), thread, team.size());
      param.sparse.sum(first, last);
      if (param.dense) add_rows(memory.param_store, param, first, last);
    }
  });
  measure_norm(memory.param_store, team);
}

/// Adds summed rows [first, last) to the dense gradient.
void Update::add_rows(ParamStore& param_store, const Param& param, std::size_t first,
                      std::size_t last) {
  const auto id = ir::ParamId(&param - params_.data());
  const std::size_t n = width(id);
  float* const gradient = param_store.gradient(id).data();
  for (std::size_t i = first; i < last; ++i) {
    float* const to = gradient + std::size_t(param.sparse.rows()[i]) * n;
    const float* const from = param.sparse.sums().data() + i * n;
    for (std::size_t j = 0; j < n; ++j) to[j] += from[j];
  }
}

void Update::measure_norm(ParamStore& param_store, ThreadTeam& team) {
  const auto values = [&](std::size_t p) -> std::span<const float> {
    if (!stored_[p].reached) return {};
    if (is_sparse(p)) return params_[p].sparse.sums();
    return param_store.gradient(ir::ParamId(p));
  };
  std::size_t count = 0;
  for (std::size_t p = 0; p < params_.size(); ++p) count += blocks(values(p).size());
  squares_.reserve(count);
  squares_.resize(count);
  team.run([&](int thread) {
    const auto [begin, end] = share(count, thread, team.size());
    std::size_t first = 0;  // block of the param
    for (std::size_t p = 0; p < params_.size(); ++p) {
      const std::span<const float> of = values(p);
      const std::size_t last = first + blocks(of.size());
      for (std::size_t i = std::max(begin, first); i < std::min(end, last); ++i) {
        const std::size_t at = (i - first) * block;
        squares_[i] = square_sum(of.data() + at, std::min(block, of.size() - at));
      }
      first = last;
    }
  });
  double sum = 0;
  for (const double square : squares_) sum += square;
  norm_ = std::sqrt(sum);
}

void Update::apply(ParamStore& param_store, Optimizer& optimizer, double norm, ThreadTeam& team) {
  optimizer.prepare(stored_);
  optimizer.begin_step({norm, 1.0});
  try {
    team.run([&](int thread) {
      for (std::size_t p = 0; p < params_.size(); ++p) {
        if (!stored_[p].reached || !optimizer.updates(ir::ParamId(p))) continue;
        if (is_sparse(p))
          update_rows(param_store, optimizer, ir::ParamId(p), thread, team.size());
        else
          update_dense(param_store, optimizer, ir::ParamId(p), thread, team.size());
      }
    });
  } catch (...) {
    // The optimizer's: nobody knows how far it came.
    for (std::size_t p = 0; p < params_.size(); ++p) param_store.mark_changed(ir::ParamId(p));
    throw;
  }
  for (std::size_t p = 0; p < params_.size(); ++p)
    if (is_sparse(p) && optimizer.updates(ir::ParamId(p))) param_store.mark_changed(ir::ParamId(p));
}

/// Updates the thread's share and packs it anew while it is in the cache.
void Update::update_dense(ParamStore& param_store, Optimizer& optimizer, ir::ParamId id, int thread,
                          int threads) {
  const std::span<float> values = param_store.values(id);
  const std::span<const float> gradient = param_store.gradient(id);
  const std::size_t piece = param_store.piece(id);
  const auto [first, last] = share((values.size() + piece - 1) / piece, thread, threads);
  for (std::size_t i = first; i < last; ++i) {
    const std::size_t begin = i * piece, size = std::min(piece, values.size() - begin);
    optimizer.update(id, begin, values.subspan(begin, size), gradient.subspan(begin, size));
    param_store.pack(id, begin, begin + size);
  }
}

void Update::update_rows(ParamStore& param_store, Optimizer& optimizer, ir::ParamId id, int thread,
                         int threads) {
  const std::span<float> values = param_store.values(id);
  const SparseGradient& sparse = params_[std::size_t(id)].sparse;
  const std::size_t n = width(id);
  const auto [first, last] = share(values.size() / n, thread, threads);
  const auto touched = sparse.rows();
  const auto low = std::ranges::lower_bound(touched, std::int32_t(first));
  const auto high = std::ranges::lower_bound(touched, std::int32_t(last));
  if (first == last || (low == high && !optimizer.updates_every_row(id))) return;
  const auto from = std::size_t(low - touched.begin()), count = std::size_t(high - low);
  optimizer.update_rows(id, first, n, values.subspan(first * n, (last - first) * n),
                        touched.subspan(from, count), sparse.sums().subspan(from * n, count * n));
}

std::vector<float> Update::dense_gradient(ParamStore& param_store, ir::ParamId id) const {
  const Param& param = params_[std::size_t(id)];
  if (is_whole(std::size_t(id))) {
    const auto gradient = param_store.gradient(id);
    return {gradient.begin(), gradient.end()};
  }
  std::vector<float> dense(param_store.size(id), 0.F);
  if (!is_sparse(std::size_t(id))) return dense;
  const std::size_t n = width(id);
  for (std::size_t i = 0; i < param.sparse.rows().size(); ++i)
    std::copy_n(param.sparse.sums().data() + i * n, n,
                dense.data() + std::size_t(param.sparse.rows()[i]) * n);
  return dense;
}

}  // namespace espalier::runtime
