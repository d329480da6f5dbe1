#include "runtime/cuda/contraction_library.h"

#include <fmt/format.h>

#include "base/disk_cache.h"
#include "base/error.h"
#include "runtime/cuda/contraction_trial.h"
#include "runtime/cuda/cublas.h"

namespace espalier::runtime {
namespace {

class CublasLibrary final : public ContractionLibrary {
 public:
  CublasLibrary(const CudaDevice& device, CudaLauncher& launcher, codegen::Compiler& compiler,
                const EngineOptions& options, std::vector<std::string>& warnings)
      : device_(device),
        launcher_(launcher),
        compiler_(compiler),
        cache_(options.cache_directory),
        contractions_(options.contractions),
        precision_(options.precision),
        persistent_(options.persistent),
        memory_limit_(options.memory_limit),
        warnings_(warnings) {}

  /// Loads the library. UserError if it is not there.
  void load() {
    blas_ = std::make_unique<Cublas>(device_, precision_);
    trials_ = std::make_unique<ContractionTrials>(device_, launcher_, *blas_, compiler_);
    machine_ =
        fmt::format("contractions trial 2\nGPU {} ({})\ndriver {}\ncuBLAS {}\nprecision {}\n",
                    device_.gpu().name, device_.gpu().architecture(), device_.driver().version(),
                    blas_->version(), int(precision_));
  }

  bool by_library(const codegen::ContractionShape& shape) override {
    for (const auto& [known, choice] : choices_)
      if (known == shape) return choice;
    const bool choice = choose(shape);
    choices_.emplace_back(shape, choice);
    return choice;
  }

  bool bf16() const override { return precision_ == Precision::bf16; }

  const Call* call(const codegen::LibraryContraction& contraction, void* const* buffers,
                   std::int64_t row_begin, std::int64_t row_end) override {
    const auto at = [&](codegen::BufferId id, std::int64_t elements, int bytes) {
      return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(buffers[id]) +
                                     std::uintptr_t(elements * bytes));
    };
    const int bytes = contraction.bf16 ? 2 : 4;  // of an element of a factor
    const std::int64_t rows = codegen::padded_rows(row_end - row_begin);
    void* const a = at(contraction.a, row_begin * contraction.a_pitch, bytes);
    if (contraction.over_rows)
      return blas_->call(contraction, a, at(contraction.b, row_begin * contraction.b_pitch, bytes),
                         at(contraction.out, contraction.out_offset, 4), rows);
    return blas_->call(contraction, a, at(contraction.b, 0, bytes),
                       at(contraction.out, row_begin * contraction.out_pitch, 4), rows);
  }

  void run(const Call& call) const override { blas_->run(call); }
  std::size_t bytes() const override { return blas_ ? Cublas::workspace_bytes : 0; }

 private:
  /// Number of weights from which on a shape gets a trial. Below, the launch of a library takes
  /// longer than a tile. Where levels may be walked, the limit is higher: the library must also
  /// make up for the lost walk.
  std::int64_t worth_trying(const codegen::ContractionShape& shape) const {
    const bool walked = persistent_ != Persistent::off && precision_ == Precision::single;
    return walked && !shape.over_rows ? 1 << 20 : 1 << 10;
  }

  /// Whether the library's workspace would take much of the memory limit. Warns if so.
  bool is_crowded() {
    unavailable_ = memory_limit_ > 0 && memory_limit_ < 4 * std::int64_t{Cublas::workspace_bytes};
    if (unavailable_)
      warnings_.push_back(
          fmt::format("cuBLAS is not used: it would take {} MiB of a memory limit of {:.2f} MiB",
                      Cublas::workspace_bytes >> 20, double(memory_limit_) / (1 << 20)));
    return unavailable_;
  }

  bool choose(const codegen::ContractionShape& shape) {
    if (contractions_ == Contractions::automatic &&
        (unavailable_ || shape.m * shape.k() < worth_trying(shape)))
      return false;
    if (contractions_ == Contractions::automatic && !blas_ && is_crowded()) return false;
    try {
      if (!blas_) load();
    } catch (const std::exception& error) {
      if (contractions_ == Contractions::cublas) throw;
      unavailable_ = true;
      // No warning on a machine without the library.
      if (has_cublas()) warnings_.push_back(fmt::format("cuBLAS is not used: {}", error.what()));
      return false;
    }
    const std::optional<ContractionTrial> trial = outcome(shape);
    if (!trial) return false;
    const bool choice = prefers_library(*trial, contractions_, shape);
    if (choice && !shape.over_rows) blas_->fix(trials_->contraction(shape), *trial->algorithm);
    return choice;
  }

  /// The cached or new trial; nothing if it failed and tiles may be used instead.
  std::optional<ContractionTrial> outcome(const codegen::ContractionShape& shape) {
    const std::string key = machine_ + to_string(shape);
    if (const auto text = cache_.load(key))
      if (const auto trial = parse_trial(*text)) return *trial;
    try {
      const ContractionTrial trial = trials_->run(shape);
      cache_.store(key, to_text(trial));
      return trial;
    } catch (const std::exception& error) {
      device_.wait(
          fmt::format("the trial of {}", to_string(shape)));  // throws if the device has failed
      user_check(contractions_ != Contractions::cublas,
                 "cuBLAS was asked for, but the trial of {} failed: {}", to_string(shape),
                 error.what());
      // Not cached: next time there may be more memory.
      warnings_.push_back(fmt::format("cuBLAS is not used for {}, because its trial failed: {}",
                                      to_string(shape), error.what()));
      return std::nullopt;
    }
  }

  const CudaDevice& device_;
  CudaLauncher& launcher_;
  codegen::Compiler& compiler_;
  DiskCache cache_;
  Contractions contractions_;
  Precision precision_;
  Persistent persistent_;
  std::int64_t memory_limit_;
  std::vector<std::string>& warnings_;
  bool unavailable_ = false;  // the library cannot be used, and need not be
  std::unique_ptr<Cublas> blas_;
  std::unique_ptr<ContractionTrials> trials_;
  std::string machine_;  // what the outcome of a trial depends on, besides the shape
  std::vector<std::pair<codegen::ContractionShape, bool>> choices_;
};

}  // namespace

std::unique_ptr<ContractionLibrary> make_contraction_library(const CudaDevice& device,
                                                             CudaLauncher& launcher,
                                                             codegen::Compiler& compiler,
                                                             const EngineOptions& options,
                                                             std::vector<std::string>& warnings) {
  if (options.contractions == Contractions::tile || options.persistent == Persistent::on)
    return nullptr;
  auto library = std::make_unique<CublasLibrary>(device, launcher, compiler, options, warnings);
  if (options.contractions == Contractions::cublas || options.precision != Precision::single) {
    try {
      library->load();
    } catch (const UserError& error) {
      throw UserError(fmt::format("cuBLAS was asked for, but {}", error.what()));
    }
  }
  return library;
}

}  // namespace espalier::runtime
