#include "runtime/cpu/update.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/vector_clones.h"

namespace espalier::runtime {
namespace {

/// Floats whose squares are summed in one piece.
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

CpuUpdate::CpuUpdate(const std::vector<StoredParam>& stored, MemoryCounter& counter,
                     ThreadTeam& team)
    : stored_(stored), team_(team), forms_(stored) {
  for (std::size_t p = 0; p < stored.size(); ++p)
    params_.push_back({GradientForm::none, SparseGradient(counter)});
}

void CpuUpdate::make_gradients(const Memory& memory, const CellKernels& kernels) {
  forms_.classify(kernels);
  for (ir::ParamId id = 0; id < forms_.size(); ++id) {
    if (forms_.whole(id)) memory.param_store.gradient(id);
    if (forms_.has_rows(id)) seen_.reserve(forms_.row_count(id));
  }
}

std::size_t CpuUpdate::forecast(const Memory& memory, const CellKernels& kernels,
                                const StepRequest& request) {
  make_gradients(memory, kernels);
  std::size_t bytes = 0, squares = 0;
  for (ir::ParamId id = 0; id < forms_.size(); ++id) {
    if (forms_.whole(id)) squares += blocks(memory.param_store.size(id));
    if (!forms_.has_rows(id)) continue;
    seen_.assign(forms_.row_count(id), false);
    std::size_t entries = 0;
    const auto& all = kernels.training_kernels();
    for (std::size_t cell = 0; cell < all.size(); ++cell)
      for (const RowContribution& c : all[cell]->rows) {
        if (c.param != id) continue;
        const auto& values = memory.layout.cells[cell].ports[std::size_t(c.index_port)].values;
        entries += values.size();
        for (const std::int32_t row : values) seen_[std::size_t(row)] = true;
      }
    const SparseGradient& sparse = at(id).sparse;
    const auto rows = std::size_t(std::ranges::count(seen_, true));
    const bool carries = request.accumulates() && is_sparse(id);
    bytes += sparse.growth(entries, rows, forms_.width(id), carries);
    if (forms_.rows(id))
      squares += blocks((rows + (carries ? sparse.rows().size() : 0)) * forms_.width(id));
  }
  return bytes + (std::max(squares, squares_.capacity()) - squares_.capacity()) * sizeof(double);
}

std::size_t CpuUpdate::bytes() const {
  std::size_t bytes = seen_.capacity() / 8 + squares_.capacity() * sizeof(double);
  for (const Param& param : params_) bytes += param.sparse.bytes();
  return bytes;
}

void CpuUpdate::collect(const Memory& memory, const CellKernels& kernels,
                        const StepRequest& request) {
  forms_.classify(kernels);
  for (ir::ParamId id = 0; id < forms_.size(); ++id) {
    Param& param = at(id);
    if (request.accumulates() && is_sparse(id))  // perhaps into what a new cell made dense
      param.sparse.carry(forms_.width(id));
    else
      param.sparse.clear();
  }
  gather_rows(memory, kernels);
  for (ir::ParamId id = 0; id < forms_.size(); ++id) {
    Param& param = at(id);
    if (forms_.has_rows(id) || forms_.rows(id)) param.sparse.sort(forms_.width(id));
    const bool holds_sums = request.accumulates() && param.collected != GradientForm::none;
    param.collected = forms_.form(id);
    if (forms_.whole(id) && !forms_.written(id) && !holds_sums)
      std::ranges::fill(memory.param_store.gradient(id), 0.F);
  }
  sum_rows(memory.param_store);
  measure_norm(memory.param_store);
}

void CpuUpdate::gather_rows(const Memory& memory, const CellKernels& kernels) {
  const auto& all = kernels.training_kernels();
  for (std::size_t cell = 0; cell < all.size(); ++cell)
    for (const RowContribution& c : all[cell]->rows) {
      if (memory.indices.row_counts()[cell] == 0 || !forms_.has_rows(c.param)) continue;
      const std::int64_t stride = codegen::row_stride(std::int64_t(forms_.width(c.param)));
      at(c.param).sparse.add(memory.layout.cells[cell].ports[std::size_t(c.index_port)].values,
                             memory.arenas.contribution(ir::CellId(cell), c.contribution),
                             std::size_t(stride));
    }
}

void CpuUpdate::sum_rows(ParamStore& params) {
  team_.run([&](int thread) {
    for (ir::ParamId id = 0; id < forms_.size(); ++id) {
      if (!forms_.has_rows(id)) continue;
      SparseGradient& sparse = at(id).sparse;
      const auto [first, last] = share(sparse.rows().size(), thread, team_.size());
      sparse.sum(first, last);
      if (forms_.whole(id)) add_rows(params, id, first, last);
    }
  });
}

/// Adds summed rows [first, last) to the dense gradient.
void CpuUpdate::add_rows(ParamStore& params, ir::ParamId id, std::size_t first, std::size_t last) {
  const SparseGradient& sparse = at(id).sparse;
  const std::size_t n = forms_.width(id);
  float* const gradient = params.gradient(id).data();
  for (std::size_t i = first; i < last; ++i) {
    float* const to = gradient + std::size_t(sparse.rows()[i]) * n;
    const float* const from = sparse.sums().data() + i * n;
    for (std::size_t j = 0; j < n; ++j) to[j] += from[j];
  }
}

void CpuUpdate::measure_norm(ParamStore& params) {
  const auto values = [&](ir::ParamId id) -> std::span<const float> {
    if (is_sparse(id)) return at(id).sparse.sums();
    if (at(id).collected == GradientForm::whole) return params.gradient(id);
    return {};
  };
  std::size_t count = 0;
  for (ir::ParamId id = 0; id < forms_.size(); ++id) count += blocks(values(id).size());
  squares_.reserve(count);
  squares_.resize(count);
  team_.run([&](int thread) {
    const auto [begin, end] = share(count, thread, team_.size());
    std::size_t first = 0;  // block of the param
    for (ir::ParamId id = 0; id < forms_.size(); ++id) {
      const std::span<const float> of = values(id);
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

void CpuUpdate::apply(ParamStore& params, Optimizer& optimizer) {
  optimizer.prepare(stored_);
  optimizer.begin_step({norm_, 1.0});
  try {
    team_.run([&](int thread) {
      for (ir::ParamId id = 0; id < forms_.size(); ++id) {
        if (at(id).collected == GradientForm::none || !optimizer.updates(id)) continue;
        if (is_sparse(id))
          update_rows(params, optimizer, id, thread);
        else
          update_dense(params, optimizer, id, thread);
      }
    });
  } catch (...) {
    // The optimizer threw: nobody knows which params it had changed by then.
    for (ir::ParamId id = 0; id < forms_.size(); ++id) params.mark_changed(id);
    throw;
  }
  for (ir::ParamId id = 0; id < forms_.size(); ++id)
    if (is_sparse(id) && optimizer.updates(id)) params.mark_changed(id);
}

/// Updates the thread's share and packs it again while it is in the cache.
void CpuUpdate::update_dense(ParamStore& params, Optimizer& optimizer, ir::ParamId id, int thread) {
  const std::span<float> values = params.values(id);
  const std::span<const float> gradient = params.gradient(id);
  const std::size_t piece = params.piece(id);
  const auto [first, last] = share((values.size() + piece - 1) / piece, thread, team_.size());
  for (std::size_t i = first; i < last; ++i) {
    const std::size_t begin = i * piece, size = std::min(piece, values.size() - begin);
    optimizer.update(id, begin, values.subspan(begin, size), gradient.subspan(begin, size));
    params.pack(id, begin, begin + size);
  }
}

void CpuUpdate::update_rows(ParamStore& params, Optimizer& optimizer, ir::ParamId id, int thread) {
  const std::span<float> values = params.values(id);
  const SparseGradient& sparse = at(id).sparse;
  const std::size_t n = forms_.width(id);
  const auto [first, last] = share(values.size() / n, thread, team_.size());
  const auto touched = sparse.rows();
  const auto low = std::ranges::lower_bound(touched, std::int32_t(first));
  const auto high = std::ranges::lower_bound(touched, std::int32_t(last));
  if (first == last || (low == high && !optimizer.updates_every_row(id))) return;
  const auto from = std::size_t(low - touched.begin()), count = std::size_t(high - low);
  optimizer.update_rows(id, first, n, values.subspan(first * n, (last - first) * n),
                        touched.subspan(from, count), sparse.sums().subspan(from * n, count * n));
}

std::vector<float> CpuUpdate::dense_gradient(ParamStore& params, ir::ParamId id) {
  const Param& param = at(id);
  if (param.collected == GradientForm::whole) {
    const auto gradient = params.gradient(id);
    return {gradient.begin(), gradient.end()};
  }
  std::vector<float> dense(params.size(id), 0.F);
  if (param.collected == GradientForm::none) return dense;
  const std::size_t n = forms_.width(id);
  for (std::size_t i = 0; i < param.sparse.rows().size(); ++i)
    std::copy_n(param.sparse.sums().data() + i * n, n,
                dense.data() + std::size_t(param.sparse.rows()[i]) * n);
  return dense;
}

}  // namespace espalier::runtime
