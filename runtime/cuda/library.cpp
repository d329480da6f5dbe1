#include "runtime/cuda/library.h"

#include <fmt/format.h>

#include "base/disk_cache.h"
#include "base/error.h"
#include "runtime/cuda/cublas.h"
#include "runtime/cuda/library_trial.h"

namespace espalier::runtime {
namespace {

class CublasLibrary final : public Library {
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
    blas_ = std::make_unique<CudaBlas>(device_, precision_);
    trials_ = std::make_unique<LibraryTrials>(device_, launcher_, *blas_, compiler_);
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

  const Call* call(const codegen::LibraryContraction& product, void* const* buffers,
                   std::int64_t row_begin, std::int64_t row_end) override {
    const auto at = [&](codegen::BufferId id, std::int64_t elements, int bytes) {
      return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(buffers[id]) +
                                     std::uintptr_t(elements * bytes));
    };
    const int bytes = product.bf16 ? 2 : 4;  // of a factor's element
    const std::int64_t rows = codegen::padded_rows(row_end - row_begin);
    void* const a = at(product.a, row_begin * product.a_pitch, bytes);
    if (product.over_rows)
      return blas_->call(product, a, at(product.b, row_begin * product.b_pitch, bytes),
                         at(product.out, product.out_offset, 4), rows);
    return blas_->call(product, a, at(product.b, 0, bytes),
                       at(product.out, row_begin * product.out_pitch, 4), rows);
  }

  void run(const Call& call) const override { blas_->run(call); }
  std::size_t bytes() const override { return blas_ ? CudaBlas::workspace_bytes : 0; }

 private:
  /// Weights from which on there is a trial. A library's launches take longer than smaller
  /// products; and where levels may be walked, which only tiles can be, contractions must make up
  /// for that.
  std::int64_t worth_trying(const codegen::ContractionShape& shape) const {
    const bool walked = persistent_ != Persistent::off && precision_ == Precision::single;
    return walked && !shape.over_rows ? 1 << 20 : 1 << 10;
  }

  /// Whether what the library works in is much of what the user allows.
  bool is_crowded() {
    lacking_ = memory_limit_ > 0 && memory_limit_ < 4 * std::int64_t{CudaBlas::workspace_bytes};
    if (lacking_)
      warnings_.push_back(
          fmt::format("tiles do all: cuBLAS would take {} MiB of a memory limit of {:.2f} MiB",
                      CudaBlas::workspace_bytes >> 20, double(memory_limit_) / (1 << 20)));
    return lacking_;
  }

  bool choose(const codegen::ContractionShape& shape) {
    if (contractions_ == Contractions::automatic &&
        (lacking_ || shape.m * shape.k() < worth_trying(shape)))
      return false;
    if (contractions_ == Contractions::automatic && !blas_ && is_crowded()) return false;
    try {
      if (!blas_) load();
    } catch (const std::exception& error) {
      if (contractions_ == Contractions::cublas) throw;
      lacking_ = true;  // which is no fault where there is none
      if (has_cublas()) warnings_.push_back(fmt::format("tiles do all: {}", error.what()));
      return false;
    }
    const std::optional<LibraryTrial> trial = outcome(shape);
    if (!trial) return false;
    const bool choice = chosen(*trial, contractions_, shape);
    if (choice && !shape.over_rows) blas_->fix(trials_->product(shape), *trial->algorithm);
    return choice;
  }

  /// Nothing if the trial failed and need not succeed.
  std::optional<LibraryTrial> outcome(const codegen::ContractionShape& shape) {
    const std::string key = machine_ + to_string(shape);
    if (const auto text = cache_.load(key))
      if (const auto trial = parse_trial(*text)) return *trial;
    try {
      const LibraryTrial trial = trials_->run(shape);
      cache_.store(key, to_text(trial));
      return trial;
    } catch (const std::exception& error) {
      device_.wait(fmt::format("the trial of {}", to_string(shape)));  // throws if that is lost
      user_check(contractions_ != Contractions::cublas,
                 "cuBLAS was asked for, but the trial of {} failed: {}", to_string(shape),
                 error.what());
      // Not kept on disk: another time there may be more memory.
      warnings_.push_back(fmt::format("a tile does {}, since the trial beside cuBLAS failed: {}",
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
  bool lacking_ = false;  // the library, which nobody needs
  std::unique_ptr<CudaBlas> blas_;
  std::unique_ptr<LibraryTrials> trials_;
  std::string machine_;  // what an outcome depends on beside the shape
  std::vector<std::pair<codegen::ContractionShape, bool>> choices_;
};

}  // namespace

std::unique_ptr<Library> make_library(const CudaDevice& device, CudaLauncher& launcher,
                                      codegen::Compiler& compiler, const EngineOptions& options,
                                      std::vector<std::string>& warnings) {
  if (options.contractions == Contractions::tile || options.persistent == Persistent::on)
    return nullptr;
  auto products = std::make_unique<CublasLibrary>(device, launcher, compiler, options, warnings);
  if (options.contractions == Contractions::cublas || options.precision != Precision::single) {
    try {
      products->load();
    } catch (const UserError& error) {
      throw UserError(fmt::format("cuBLAS was asked for, but {}", error.what()));
    }
  }
  return products;
}

}  // namespace espalier::runtime
