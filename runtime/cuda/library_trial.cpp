#include "runtime/cuda/library_trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "codegen/kernel/split_rows.h"

namespace espalier::runtime {
namespace {

using codegen::BufferRole;
using codegen::ContractionShape;
using codegen::Kernel;
using codegen::LibraryContraction;

constexpr int repetitions = 4;   // of a kernel, sent off together
constexpr int measurements = 3;  // the shortest counts
constexpr int most_candidates = 8;
constexpr int distinct_rows = 7;

/// Memory of the device, given back at the end.
class Block {
 public:
  Block(CudaLauncher& launcher, std::int64_t floats)
      : launcher_(launcher), memory_(launcher.allocate(std::size_t(floats) * sizeof(float))) {
    launcher.clear(memory_, std::size_t(floats) * sizeof(float));
  }
  ~Block() { launcher_.release(memory_); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  float* data() const { return static_cast<float*>(memory_); }

 private:
  CudaLauncher& launcher_;
  void* memory_;
};

struct TrialRows final : LaunchRows {
  explicit TrialRows(std::int64_t count) { end = count; }
  std::pair<std::int64_t, std::int64_t> children(int) const override { return {0, 0}; }
};

std::vector<float> random_floats(std::int64_t count, std::uint64_t seed) {
  std::vector<float> values(static_cast<std::size_t>(count));
  const std::uint64_t key = splitmix(seed, 0);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = float(2 * uniform_real(key, i) - 1);
  return values;
}

void outer_products(Kernel& kernel, const ContractionShape& shape) {
  codegen::KernelBuilder b(kernel);
  const std::int64_t k = shape.k();
  const auto left =
      b.buffer({.role = BufferRole::contribution, .row_elements = codegen::row_stride(shape.m)});
  const auto gradient = b.buffer({.role = BufferRole::param_gradient, .row_elements = shape.m * k});
  const auto end =
      b.load_index(b.buffer({.role = BufferRole::row_count, .a = ir::per_instance}), b.integer(0));
  std::int64_t column = 0;
  for (std::size_t t = 0; t < shape.terms.size(); ++t) {
    const std::int64_t stride = codegen::row_stride(shape.terms[t]);
    const auto right =
        b.buffer({.role = BufferRole::state_field, .a = int(t), .row_elements = stride});
    const auto rows = b.buffer({.role = BufferRole::port_values, .a = int(t)});
    codegen::Stage stage;
    stage.rows = codegen::RowDomain::once;
    stage.outer_product = true;
    stage.extents = {shape.m, shape.terms[t]};
    stage.variables = {b.variable(), b.variable()};
    const codegen::VarId row = b.variable();
    const auto i = b.var(stage.variables[0]), j = b.var(stage.variables[1]);
    const auto x = b.load(left, b.add(b.multiply(b.var(row), codegen::row_stride(shape.m)), i));
    const auto y = b.load(right, b.add(b.multiply(b.load_index(rows, b.var(row)), stride), j));
    stage.stores = {
        {gradient, b.add(b.add(b.multiply(i, k), j), b.integer(column)),
         b.reduce(codegen::Reduction::fma, row, b.integer(0), end, x, y, codegen::row_block)}};
    kernel.stages.push_back(std::move(stage));
    column += shape.terms[t];
  }
}

void contraction(Kernel& kernel, const ContractionShape& shape, const codegen::Target& target) {
  codegen::KernelBuilder b(kernel);
  codegen::Packing packing;
  packing.m = shape.m;
  packing.k = shape.k();
  packing.gates = shape.gates;
  packing.lanes = codegen::panel_lanes(target, shape.gates, long(packing.gate_length()));
  kernel.packings = {packing};
  const std::int64_t length = packing.gate_length(), stride = codegen::row_stride(length);
  codegen::Stage stage;
  stage.row = b.variable();
  stage.extents = {length};
  stage.variables = {b.variable()};
  stage.contraction.emplace();
  stage.contraction->packing = 0;
  stage.contraction->weights =
      b.buffer({.role = BufferRole::packed, .row_elements = packing.elements()});
  std::int64_t k = 0;
  for (std::size_t t = 0; t < shape.terms.size(); ++t) {
    const std::int64_t from = codegen::row_stride(shape.terms[t]);
    const auto x = b.buffer({.role = BufferRole::state_field, .a = int(t), .row_elements = from});
    const auto rows = b.buffer({.role = BufferRole::port_values, .a = int(t)});
    stage.contraction->terms.push_back(
        {x, b.multiply(b.load_index(rows, b.var(stage.row)), from), k, shape.terms[t]});
    k += shape.terms[t];
  }
  ir::Scalar sum{&b, b.number(0)};
  for (int gate = 0; gate < shape.gates; ++gate)
    sum = sum + ir::tanh(ir::Scalar{&b, b.accumulator(gate)});
  const auto to = b.buffer({.role = BufferRole::own_field, .row_elements = stride});
  stage.stores = {
      {to, b.add(b.multiply(b.var(stage.row), stride), b.var(stage.variables[0])), sum.id}};
  kernel.stages.push_back(std::move(stage));
}

bool plausible(double seconds) { return seconds > 0 && std::isfinite(seconds); }

Kernel split_all(Kernel kernel, bool bf16) {
  return codegen::split_library_contractions(
      std::move(kernel), [](const ContractionShape&) { return true; }, bf16);
}

std::int64_t rows_in(const codegen::Buffer& buffer, std::int64_t rows) {
  if (buffer.role == BufferRole::packed || buffer.role == BufferRole::param_gradient) return 1;
  return buffer.role == BufferRole::partial ? (rows + buffer.b - 1) / buffer.b : rows;
}

/// As the device keeps factors; `values` are rounded, too.
std::vector<std::uint16_t> to_bf16(std::vector<float>& values) {
  std::vector<std::uint16_t> result;
  for (float& x : values) {
    result.push_back(codegen::to_bf16(x));
    x = codegen::from_bf16(result.back());
  }
  return result;
}

}  // namespace

Kernel trial_kernel(const ContractionShape& shape, const codegen::Target& target) {
  Kernel kernel;
  kernel.name = "trial";
  if (shape.over_rows)
    outer_products(kernel, shape);
  else
    contraction(kernel, shape, target);
  return kernel;
}

bool chosen(const LibraryTrial& trial, Contractions contractions, const ContractionShape& shape) {
  user_check(trial.algorithm || contractions != Contractions::cublas,
             "cuBLAS was asked for, but has no algorithm for {} whose rows do not depend on each "
             "other",
             to_string(shape));
  if (!trial.algorithm || contractions == Contractions::tile) return false;
  return contractions == Contractions::cublas || trial.library_seconds < trial.tile_seconds;
}

std::string to_text(const LibraryTrial& trial) {
  std::string text =
      fmt::format("tile {:a}\nlibrary {:a}\n", trial.tile_seconds, trial.library_seconds);
  if (trial.algorithm) {
    text += "algorithm";
    for (const std::uint64_t word : *trial.algorithm) text += fmt::format(" {:016x}", word);
    text += '\n';
  }
  return text;
}

std::optional<LibraryTrial> parse_trial(std::string_view text) {
  const std::string copy(text);
  LibraryTrial trial;
  LibraryAlgorithm words{};
  const int found =
      std::sscanf(copy.c_str(), "tile %la\nlibrary %la\nalgorithm %lx %lx %lx %lx %lx %lx %lx %lx",
                  &trial.tile_seconds, &trial.library_seconds, &words[0], &words[1], &words[2],
                  &words[3], &words[4], &words[5], &words[6], &words[7]);
  if (found == 10) trial.algorithm = words;
  // Only what to_text has written is right to the last letter.
  if (found < 2 || to_text(trial) != text) return std::nullopt;
  if (!plausible(trial.tile_seconds)) return std::nullopt;
  if (trial.algorithm && !plausible(trial.library_seconds)) return std::nullopt;
  return trial;
}

std::int64_t LibraryTrials::most_rows() const {
  return std::clamp<std::int64_t>(32 * device_.gpu().multiprocessors, 64, 4096);
}

double LibraryTrials::time(const std::function<void()>& work) {
  // The first time loads kernels, the second captures.
  work();
  work();
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < measurements; ++i) {
    device_.wait("a trial");
    best = std::min(best, device_.seconds(work, "a trial"));
  }
  return best;
}

double LibraryTrials::time_kernel(const Kernel& source) {
  const codegen::CompiledKernel& kernel = compiler_.compile(source);
  const std::int64_t most = most_rows(), room = codegen::padded_rows(most);
  std::vector<std::unique_ptr<Block>> blocks;
  std::vector<std::int32_t> rows(static_cast<std::size_t>(most));
  // Every row once, none beside its neighbours.
  for (std::size_t i = 0; i < rows.size(); ++i)
    rows[i] = std::int32_t((std::int64_t(i) * 1031) % most);
  for (const codegen::Buffer& buffer : kernel.kernel.buffers) {
    blocks.push_back(
        element(buffer.role) == codegen::Element::f32
            ? std::make_unique<Block>(launcher_, buffer.row_elements * rows_in(buffer, room))
            : nullptr);
  }
  double seconds = 0;
  Plan plan;
  for (std::int64_t count = 16; count <= most; count *= 4) {
    const auto number = std::int32_t(count);
    seconds += time([&] {
                 launcher_.begin({});
                 plan.clear();
                 const void* const row_numbers =
                     launcher_.place(rows.data(), rows.size() * sizeof(std::int32_t));
                 const void* const row_count = launcher_.place(&number, sizeof number);
                 for (int i = 0; i < repetitions; ++i) {
                   for (std::size_t b = 0; b < blocks.size(); ++b) {
                     const bool counts = kernel.kernel.buffers[b].role == BufferRole::row_count;
                     plan.bind(blocks[b] ? blocks[b]->data()
                                         : const_cast<void*>(counts ? row_count : row_numbers));
                   }
                   plan.add(kernel, TrialRows(count));
                 }
                 launcher_.add(plan, 0, plan.size());
                 launcher_.submit(/*may_walk=*/false);
               }) /
               repetitions;
  }
  return seconds;
}

std::optional<double> LibraryTrials::measure(const LibraryContraction& product,
                                             const LibraryAlgorithm& algorithm) {
  const std::int64_t m = product.m, k = product.k, room = 2048;
  const Block x(launcher_, room * product.a_pitch), w(launcher_, k * product.b_pitch),
      out(launcher_, room * product.out_pitch);
  std::vector<float> rows = random_floats(distinct_rows * product.a_pitch, 1);
  rows.resize(std::size_t(room * product.a_pitch));
  for (std::int64_t r = distinct_rows; r < room; ++r)
    std::copy_n(rows.begin() + (r % distinct_rows) * product.a_pitch, product.a_pitch,
                rows.begin() + r * product.a_pitch);
  std::vector<float> weights = random_floats(k * product.b_pitch, 2);
  for (const auto& [to, values] : {std::pair(x.data(), &rows), std::pair(w.data(), &weights)}) {
    if (bf16())
      launcher_.write(to, to_bf16(*values).data(), values->size() * sizeof(std::uint16_t));
    else
      launcher_.write(to, values->data(), values->size() * sizeof(float));
  }

  std::vector<float> sums(static_cast<std::size_t>(room * product.out_pitch)), first;
  for (const std::int64_t count : {16, 32, 48, 64, 112, 160, 256, 448, 896, 1024, 2048}) {
    if (!blas_.try_algorithm(product, x.data(), w.data(), out.data(), count, algorithm))
      return std::nullopt;
    launcher_.read(sums.data(), out.data(),
                   static_cast<std::size_t>(count * product.out_pitch) * sizeof(float));
    if (first.empty()) first.assign(sums.begin(), sums.begin() + 16 * product.out_pitch);
    for (std::int64_t r = 0; r < count; ++r)
      if (!std::equal(sums.begin() + r * product.out_pitch,
                      sums.begin() + r * product.out_pitch + m,
                      first.begin() + (r % distinct_rows) * product.out_pitch))
        return std::nullopt;
  }
  // That these are the sums at all.
  const double factor_error = blas_.precision() == Precision::tf32 ? 2 * 0x1p-10 : 0;
  for (std::int64_t r = 0; r < distinct_rows; ++r)
    for (std::int64_t j = 0; j < m; ++j) {
      double sum = 0, size = 0;
      for (std::int64_t i = 0; i < k; ++i) {
        const double term = double(rows[std::size_t(r * product.a_pitch + i)]) *
                            double(weights[std::size_t(i * product.b_pitch + j)]);
        sum += term;
        size += std::abs(term);
      }
      const double found = first[std::size_t(r * product.out_pitch + j)];
      internal_check(std::abs(found - sum) <= size * (factor_error + double(k + 2) * 0x1p-23),
                     "cuBLAS's contraction [{}, {}] is wrong: found {} at ({}, {}), expected {}", m,
                     k, found, r, j, sum);
    }
  const std::int64_t count = std::min<std::int64_t>(most_rows(), room);
  return time([&] {
    for (int i = 0; i < repetitions; ++i)
      blas_.try_algorithm(product, x.data(), w.data(), out.data(), count, algorithm);
  });
}

std::optional<LibraryAlgorithm> LibraryTrials::best_algorithm(const LibraryContraction& product) {
  std::optional<LibraryAlgorithm> best;
  double least = std::numeric_limits<double>::infinity();
  // The library is asked about one number of rows; about others only if none of those will do.
  for (const std::int64_t rows : {256, 2048, 64}) {
    const auto candidates = blas_.candidates(product, rows, most_candidates);
    // Over rows its own choice for each number of them will do.
    if (product.over_rows)
      return candidates.empty() ? std::nullopt : std::optional(candidates.front());
    for (const LibraryAlgorithm& algorithm : candidates) {
      const std::optional<double> seconds = measure(product, algorithm);
      if (!seconds || *seconds >= least) continue;
      least = *seconds;
      best = algorithm;
    }
    if (best) break;
  }
  return best;
}

LibraryContraction LibraryTrials::product(const ContractionShape& shape) const {
  const Kernel split = split_all(trial_kernel(shape, compiler_.target()), bf16());
  const auto stage = std::ranges::find_if(
      split.stages, [](const codegen::Stage& one) { return one.library.has_value(); });
  return *stage->library;
}

LibraryTrial LibraryTrials::run(const ContractionShape& shape) {
  const Kernel whole = trial_kernel(shape, compiler_.target());
  const Kernel split = split_all(whole, bf16());
  const LibraryContraction of_library = product(shape);
  LibraryTrial trial;
  trial.algorithm = best_algorithm(of_library);
  trial.tile_seconds = time_kernel(codegen::split_rows(whole));
  if (!trial.algorithm) return trial;
  if (!shape.over_rows) blas_.fix(of_library, *trial.algorithm);
  trial.library_seconds = time_kernel(split);
  return trial;
}

}  // namespace espalier::runtime
