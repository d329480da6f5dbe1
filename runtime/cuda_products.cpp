#include "runtime/cuda_products.h"

#include <fmt/format.h>

#include "codegen/kernel_cache.h"
#include "ir/error.h"
#include "runtime/cuda_blas.h"
#include "runtime/cuda_gemm_trial.h"

namespace espalier::runtime {
namespace {

class CublasProducts final : public CudaProducts {
 public:
  CublasProducts(const CudaDevice& device, CudaLauncher& launcher, codegen::Compiler& compiler,
                 const EngineOptions& options)
      : blas_(device, options.precision),
        trials_(device, launcher, blas_, compiler),
        cache_(options.cache_directory),
        gemm_(options.gemm) {
    machine_ = fmt::format("gemm trial 1\nGPU {} ({})\ndriver {}\ncuBLAS {}\nprecision {}\n",
                           device.gpu().name, device.gpu().architecture(),
                           device.driver().version(), blas_.version(), int(options.precision));
  }

  bool by_library(const codegen::GemmShape& shape) override {
    for (const auto& [known, choice] : choices_)
      if (known == shape) return choice;
    // A library's launches take longer than that product.
    constexpr std::int64_t worth_trying = 1024;
    const bool tiny = shape.m * shape.k() < worth_trying;
    const GemmTrial trial = tiny && gemm_ != Gemm::cublas ? GemmTrial() : outcome(shape);
    const bool choice = chosen(trial, gemm_, shape);
    if (choice && !shape.over_rows) blas_.fix(split_product(shape), *trial.algorithm);
    choices_.emplace_back(shape, choice);
    return choice;
  }

  bool bf16() const override { return blas_.precision() == GemmPrecision::bf16; }

  const Call* call(const codegen::LibraryProduct& product, void* const* buffers,
                   std::int64_t row_begin, std::int64_t row_end) override {
    const auto at = [&](codegen::BufferId id, std::int64_t elements, int bytes) {
      return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(buffers[id]) +
                                     std::uintptr_t(elements * bytes));
    };
    const int bytes = product.bf16 ? 2 : 4;  // of a factor's element
    const std::int64_t rows = codegen::padded_rows(row_end - row_begin);
    void* const a = at(product.a, row_begin * product.a_pitch, bytes);
    if (product.over_rows)
      return blas_.call(product, a, at(product.b, row_begin * product.b_pitch, bytes),
                        at(product.out, product.out_offset, 4), rows);
    return blas_.call(product, a, at(product.b, 0, bytes),
                      at(product.out, row_begin * product.out_pitch, 4), rows);
  }

  void run(const Call& call) const override { blas_.run(call); }

 private:
  GemmTrial outcome(const codegen::GemmShape& shape) {
    const std::string key = machine_ + to_string(shape);
    if (const auto text = cache_.load(key))
      if (const auto trial = parse_trial(*text)) return *trial;
    const GemmTrial trial = trials_.run(shape);
    cache_.store(key, to_text(trial));
    return trial;
  }

  codegen::LibraryProduct split_product(const codegen::GemmShape& shape) const {
    return trials_.product(shape);
  }

  CudaBlas blas_;
  GemmTrials trials_;
  codegen::KernelCache cache_;
  Gemm gemm_;
  std::string machine_;  // what an outcome depends on beside the shape
  std::vector<std::pair<codegen::GemmShape, bool>> choices_;
};

}  // namespace

std::unique_ptr<CudaProducts> make_cuda_products(const CudaDevice& device, CudaLauncher& launcher,
                                                 codegen::Compiler& compiler,
                                                 const EngineOptions& options) {
  if (options.gemm == Gemm::tile) return nullptr;
  const bool must = options.gemm == Gemm::cublas || options.precision != GemmPrecision::single;
  try {
    return std::make_unique<CublasProducts>(device, launcher, compiler, options);
  } catch (const UserError& error) {
    user_check(!must, "cuBLAS was asked for, but {}", error.what());
    return nullptr;
  }
}

}  // namespace espalier::runtime
