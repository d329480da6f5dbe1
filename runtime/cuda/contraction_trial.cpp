#include "runtime/cuda/contraction_trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "codegen/kernel/split_rows.h"
#include "runtime/cuda/contraction_trial_kernel.h"

namespace espalier::runtime {
namespace {

using codegen::BufferRole;
using codegen::ContractionShape;
using codegen::Kernel;
using codegen::LibraryContraction;

constexpr int repetitions = 4;   // of a kernel in one measurement
constexpr int measurements = 3;  // the shortest one counts
constexpr int most_candidates = 8;
/// Rows repeat with this period, so that equal rows appear at different places.
constexpr int distinct_rows = 7;
constexpr std::int64_t most_checked_rows = 2048;

/// Zeroed memory of the device, released by the destructor.
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

bool plausible(double seconds) { return seconds > 0 && std::isfinite(seconds); }

Kernel split_all(Kernel kernel, bool bf16) {
  return codegen::split_library_contractions(
      std::move(kernel), [](const ContractionShape&) { return true; }, bf16);
}

std::int64_t rows_in(const codegen::Buffer& buffer, std::int64_t rows) {
  if (buffer.role == BufferRole::packed || buffer.role == BufferRole::param_gradient) return 1;
  return buffer.role == BufferRole::partial ? (rows + buffer.b - 1) / buffer.b : rows;
}

/// Factors as the device stores them. Rounds `values` accordingly.
std::vector<std::uint16_t> to_bf16(std::vector<float>& values) {
  std::vector<std::uint16_t> result;
  for (float& x : values) {
    result.push_back(codegen::to_bf16(x));
    x = codegen::from_bf16(result.back());
  }
  return result;
}

}  // namespace

bool prefers_library(const ContractionTrial& trial, Contractions contractions,
                     const ContractionShape& shape) {
  user_check(trial.algorithm || contractions != Contractions::cublas,
             "cuBLAS was asked for, but has no algorithm for {} whose rows are independent of each "
             "other",
             to_string(shape));
  if (!trial.algorithm || contractions == Contractions::tile) return false;
  return contractions == Contractions::cublas || trial.library_seconds < trial.tile_seconds;
}

std::string to_text(const ContractionTrial& trial) {
  std::string text =
      fmt::format("tile {:a}\nlibrary {:a}\n", trial.tile_seconds, trial.library_seconds);
  if (trial.algorithm) {
    text += "algorithm";
    for (const std::uint64_t word : *trial.algorithm) text += fmt::format(" {:016x}", word);
    text += '\n';
  }
  return text;
}

std::optional<ContractionTrial> parse_trial(std::string_view text) {
  const std::string copy(text);
  ContractionTrial trial;
  CublasAlgorithm words{};
  const int found =
      std::sscanf(copy.c_str(), "tile %la\nlibrary %la\nalgorithm %lx %lx %lx %lx %lx %lx %lx %lx",
                  &trial.tile_seconds, &trial.library_seconds, &words[0], &words[1], &words[2],
                  &words[3], &words[4], &words[5], &words[6], &words[7]);
  if (found == 10) trial.algorithm = words;
  // Accept nothing that to_text would not have written, down to the last letter.
  if (found < 2 || to_text(trial) != text) return std::nullopt;
  if (!plausible(trial.tile_seconds)) return std::nullopt;
  if (trial.algorithm && !plausible(trial.library_seconds)) return std::nullopt;
  return trial;
}

std::int64_t ContractionTrials::most_rows() const {
  return std::clamp<std::int64_t>(32 * device_.gpu().multiprocessors, 64, 4096);
}

double ContractionTrials::time(const std::function<void()>& work) {
  // The first run loads kernels, the second one captures a graph.
  work();
  work();
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < measurements; ++i) {
    device_.wait("a trial");
    best = std::min(best, device_.seconds(work, "a trial"));
  }
  return best;
}

double ContractionTrials::time_kernel(const Kernel& source) {
  const codegen::CompiledKernel& kernel = compiler_.compile(source);
  const std::int64_t most = most_rows(), room = codegen::padded_rows(most);
  std::vector<std::unique_ptr<Block>> blocks;
  std::vector<std::int32_t> rows(static_cast<std::size_t>(most));
  // A permutation in which no row lies next to its neighbours.
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

namespace {

/// The operands of a contraction [m, k] on the host, with few distinct rows.
struct Operands {
  explicit Operands(const LibraryContraction& contraction)
      : rows(random_floats(distinct_rows * contraction.a_pitch, 1)),
        weights(random_floats(contraction.k * contraction.b_pitch, 2)) {
    const std::int64_t pitch = contraction.a_pitch;
    rows.resize(std::size_t(most_checked_rows * pitch));
    for (std::int64_t r = distinct_rows; r < most_checked_rows; ++r)
      std::copy_n(rows.begin() + (r % distinct_rows) * pitch, pitch, rows.begin() + r * pitch);
  }

  std::vector<float> rows, weights;
};

/// InternalError unless the distinct rows of `sums` are what a contraction of the operands gives.
/// `factor_error` is the relative error of a product of two factors.
void check_sums(const LibraryContraction& contraction, const Operands& operands,
                const std::vector<float>& sums, double factor_error) {
  const std::int64_t m = contraction.m, k = contraction.k;
  for (std::int64_t r = 0; r < distinct_rows; ++r)
    for (std::int64_t j = 0; j < m; ++j) {
      double sum = 0, size = 0;
      for (std::int64_t i = 0; i < k; ++i) {
        const double term = double(operands.rows[std::size_t(r * contraction.a_pitch + i)]) *
                            double(operands.weights[std::size_t(i * contraction.b_pitch + j)]);
        sum += term;
        size += std::abs(term);
      }
      const double found = sums[std::size_t(r * contraction.out_pitch + j)];
      internal_check(std::abs(found - sum) <= size * (factor_error + double(k + 2) * 0x1p-23),
                     "cuBLAS's contraction [{}, {}] is wrong: found {} at ({}, {}), expected {}", m,
                     k, found, r, j, sum);
    }
}

}  // namespace

std::optional<double> ContractionTrials::measure(const LibraryContraction& contraction,
                                                 const CublasAlgorithm& algorithm) {
  const std::int64_t out_pitch = contraction.out_pitch;
  const Block x(launcher_, most_checked_rows * contraction.a_pitch),
      w(launcher_, contraction.k * contraction.b_pitch),
      out(launcher_, most_checked_rows * out_pitch);
  Operands operands(contraction);
  for (const auto& [to, values] :
       {std::pair(x.data(), &operands.rows), std::pair(w.data(), &operands.weights)}) {
    if (bf16())
      launcher_.write(to, to_bf16(*values).data(), values->size() * sizeof(std::uint16_t));
    else
      launcher_.write(to, values->data(), values->size() * sizeof(float));
  }
  const auto contract = [&](std::int64_t rows) {
    return blas_.try_algorithm(contraction, x.data(), w.data(), out.data(), rows, algorithm);
  };

  // Equal rows must give equal bits, at any place and whatever the number of rows.
  std::vector<float> sums(static_cast<std::size_t>(most_checked_rows * out_pitch)), first;
  for (const std::int64_t count : {16, 32, 48, 64, 112, 160, 256, 448, 896, 1024, 2048}) {
    if (!contract(count)) return std::nullopt;
    launcher_.read(sums.data(), out.data(),
                   static_cast<std::size_t>(count * out_pitch) * sizeof(float));
    if (first.empty()) first.assign(sums.begin(), sums.begin() + 16 * out_pitch);
    for (std::int64_t r = 0; r < count; ++r)
      if (!std::equal(sums.begin() + r * out_pitch, sums.begin() + r * out_pitch + contraction.m,
                      first.begin() + (r % distinct_rows) * out_pitch))
        return std::nullopt;
  }
  check_sums(contraction, operands, first, blas_.precision() == Precision::tf32 ? 2 * 0x1p-10 : 0);
  const std::int64_t count = std::min<std::int64_t>(most_rows(), most_checked_rows);
  return time([&] {
    for (int i = 0; i < repetitions; ++i) contract(count);
  });
}

std::optional<CublasAlgorithm> ContractionTrials::best_algorithm(
    const LibraryContraction& contraction) {
  std::optional<CublasAlgorithm> best;
  double least = std::numeric_limits<double>::infinity();
  // Ask for the algorithms of one number of rows; of others only if none of these can be used.
  for (const std::int64_t rows : {256, 2048, 64}) {
    const auto candidates = blas_.candidates(contraction, rows, most_candidates);
    // A sum over rows may use the library's own choice for each number of rows.
    if (contraction.over_rows)
      return candidates.empty() ? std::nullopt : std::optional(candidates.front());
    for (const CublasAlgorithm& algorithm : candidates) {
      const std::optional<double> seconds = measure(contraction, algorithm);
      if (!seconds || *seconds >= least) continue;
      least = *seconds;
      best = algorithm;
    }
    if (best) break;
  }
  return best;
}

LibraryContraction ContractionTrials::contraction(const ContractionShape& shape) const {
  const Kernel split = split_all(trial_kernel(shape, compiler_.target()), bf16());
  const auto stage = std::ranges::find_if(
      split.stages, [](const codegen::Stage& one) { return one.library.has_value(); });
  return *stage->library;
}

ContractionTrial ContractionTrials::run(const ContractionShape& shape) {
  const Kernel whole = trial_kernel(shape, compiler_.target());
  const Kernel split = split_all(whole, bf16());
  const LibraryContraction of_library = contraction(shape);
  ContractionTrial trial;
  trial.algorithm = best_algorithm(of_library);
  trial.tile_seconds = time_kernel(codegen::split_rows(whole));
  if (!trial.algorithm) return trial;
  if (!shape.over_rows) blas_.fix(of_library, *trial.algorithm);
  trial.library_seconds = time_kernel(split);
  return trial;
}

}  // namespace espalier::runtime
