#include "runtime/update.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace espalier::runtime {
namespace {

/// Sum of squares with eight lanes of partial sums, in one fixed order.
double square_sum(std::span<const float> values) {
  std::array<double, 8> lanes{};
  std::size_t i = 0;
  for (; i + 8 <= values.size(); i += 8)
    for (std::size_t lane = 0; lane < 8; ++lane)
      lanes[lane] += double(values[i + lane]) * double(values[i + lane]);
  double sum = 0;
  for (; i < values.size(); ++i) sum += double(values[i]) * double(values[i]);
  for (double lane : lanes) sum += lane;
  return sum;
}

}  // namespace

Update::Update(const ir::Program& program, MemoryCounter& counter) : program_(program) {
  for (const ir::Param& param : program.params) {
    params_.push_back({false, false, SparseGradient(counter)});
    stored_.push_back({param.name, param.shape, std::size_t(param.shape.size())});
  }
}

std::size_t Update::width(ir::ParamId param) const {
  const ir::Shape& shape = program_.params[std::size_t(param)].shape;
  return std::size_t(shape.size() / shape[0]);
}

void Update::collect(const Memory& memory, const Modules& modules, ThreadTeam& team) {
  for (Param& param : params_) {
    param.sparse.clear();
    param.dense = param.rows = false;
  }
  const auto& all = modules.training_modules();
  for (const auto& module : all)
    for (const ir::ParamId param : module->first_writes) params_[std::size_t(param)].dense = true;
  for (std::size_t cell = 0; cell < all.size(); ++cell) {
    for (const RowContribution& c : all[cell]->rows) {
      Param& param = params_[std::size_t(c.param)];
      param.rows = true;
      if (memory.row_counts[cell] == 0) continue;
      param.sparse.add(memory.layout.cells[cell].ports[std::size_t(c.index_port)].values,
                       memory.arenas.contribution(ir::CellId(cell), c.contribution),
                       width(c.param));
    }
  }
  team.run([&](int thread) {
    for (std::size_t p = std::size_t(thread); p < params_.size(); p += std::size_t(team.size()))
      if (params_[p].rows) params_[p].sparse.finish(width(ir::ParamId(p)));
  });
  double sum = 0;
  for (std::size_t p = 0; p < params_.size(); ++p) {
    Param& param = params_[p];
    const auto id = ir::ParamId(p);
    if (param.rows && !param.dense) {
      sum += square_sum(param.sparse.sums());
      continue;
    }
    const std::span<float> gradient = memory.parameters.gradient(id);
    if (!param.dense) std::ranges::fill(gradient, 0.F);
    if (param.rows) {
      const std::size_t n = width(id);
      const auto rows = param.sparse.rows();
      for (std::size_t i = 0; i < rows.size(); ++i)
        for (std::size_t j = 0; j < n; ++j)
          gradient[std::size_t(rows[i]) * n + j] += param.sparse.sums()[i * n + j];
    }
    sum += square_sum(gradient);
  }
  norm_ = std::sqrt(sum);
}

void Update::apply(Parameters& parameters, Optimizer& optimizer, double norm, ThreadTeam& team) {
  optimizer.prepare(stored_);
  optimizer.begin_step({norm, 1.0});
  team.run([&](int thread) {
    const auto t = std::size_t(thread), threads = std::size_t(team.size());
    for (std::size_t p = 0; p < params_.size(); ++p) {
      const auto id = ir::ParamId(p);
      const std::span<float> values = parameters.values(id);
      const Param& param = params_[p];
      if (!param.rows || param.dense) {
        const std::size_t begin = values.size() * t / threads;
        const std::size_t size = values.size() * (t + 1) / threads - begin;
        if (size > 0)
          optimizer.update(id, begin, values.subspan(begin, size),
                           parameters.gradient(id).subspan(begin, size));
        continue;
      }
      const std::size_t n = width(id), rows = values.size() / n;
      const std::size_t first = rows * t / threads, last = rows * (t + 1) / threads;
      const auto touched = param.sparse.rows();
      const auto low = std::ranges::lower_bound(touched, std::int32_t(first));
      const auto high = std::ranges::lower_bound(touched, std::int32_t(last));
      if (first == last || (low == high && !optimizer.updates_every_row(id))) continue;
      const auto from = std::size_t(low - touched.begin()), count = std::size_t(high - low);
      optimizer.update_rows(id, first, n, values.subspan(first * n, (last - first) * n),
                            touched.subspan(from, count),
                            param.sparse.sums().subspan(from * n, count * n));
    }
  });
}

std::vector<float> Update::dense_gradient(Parameters& parameters, ir::ParamId id) const {
  const Param& param = params_[std::size_t(id)];
  if (!param.rows || param.dense) {
    const auto gradient = parameters.gradient(id);
    return {gradient.begin(), gradient.end()};
  }
  std::vector<float> dense(parameters.size(id), 0.F);
  const std::size_t n = width(id);
  for (std::size_t i = 0; i < param.sparse.rows().size(); ++i)
    std::copy_n(param.sparse.sums().data() + i * n, n,
                dense.data() + std::size_t(param.sparse.rows()[i]) * n);
  return dense;
}

}  // namespace espalier::runtime
