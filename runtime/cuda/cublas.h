// Contractions by cuBLASLt, which is loaded at run time: its functions, and calls with fixed
// operands, so that CUDA graphs can hold them. Used by the contraction library and its trials. Sums
// are in single precision, in a fixed workspace, and only by reproducible algorithms.
#pragma once

#include <cublasLt.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "codegen/kernel/kernel.h"
#include "runtime/cuda/contraction_library.h"
#include "runtime/cuda/driver.h"

namespace espalier::runtime {

struct CublasFunctions {
  decltype(&::cublasLtCreate) create = nullptr;
  decltype(&::cublasLtDestroy) destroy = nullptr;
  decltype(&::cublasLtGetProperty) property = nullptr;
  decltype(&::cublasLtMatmulDescCreate) desc_create = nullptr;
  decltype(&::cublasLtMatmulDescDestroy) desc_destroy = nullptr;
  decltype(&::cublasLtMatmulDescSetAttribute) desc_set = nullptr;
  decltype(&::cublasLtMatrixLayoutCreate) layout_create = nullptr;
  decltype(&::cublasLtMatrixLayoutDestroy) layout_destroy = nullptr;
  decltype(&::cublasLtMatmulPreferenceCreate) preference_create = nullptr;
  decltype(&::cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
  decltype(&::cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;
  decltype(&::cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
  decltype(&::cublasLtMatmulAlgoCheck) algorithm_check = nullptr;
  decltype(&::cublasLtMatmulAlgoConfigGetAttribute) algorithm_get = nullptr;
  decltype(&::cublasLtMatmul) multiply = nullptr;
};

/// A configured algorithm: a cublasLtMatmulAlgo_t, which may be stored and used again with the same
/// version of the library.
using CublasAlgorithm = std::array<std::uint64_t, 8>;

/// What an algorithm is chosen for. Contractions use one algorithm for all numbers of rows, outer
/// products one for each.
struct ContractionKey {
  bool over_rows = false, accumulates = false;
  std::uint32_t out_alignment = 0;  ///< of the rows of the result, in bytes
  std::int64_t m = 0, k = 0, a_pitch = 0, b_pitch = 0, out_pitch = 0;
  std::int64_t rows = 0;  ///< of an outer product, else 0

  bool operator==(const ContractionKey&) const = default;
};

/// Whether the library is installed.
bool has_cublas();

class Cublas {
 public:
  /// Device memory that all calls share as workspace.
  static constexpr std::size_t workspace_bytes = std::size_t{8} << 20;

  /// UserError, naming what is missing, if cuBLASLt cannot be loaded.
  Cublas(const CudaDevice& device, Precision precision);
  ~Cublas();
  Cublas(const Cublas&) = delete;
  Cublas& operator=(const Cublas&) = delete;

  /// For example `13.1.0`.
  const std::string& version() const { return version_; }
  Precision precision() const { return precision_; }

  /// Up to `most` algorithms, the best by the library's estimate first. Those for contractions do
  /// not split k.
  std::vector<CublasAlgorithm> candidates(const codegen::LibraryContraction& contraction,
                                          std::int64_t rows, int most) const;
  /// Sets the algorithm of all contractions of this shape from now on.
  void fix(const codegen::LibraryContraction& contraction, const CublasAlgorithm& algorithm);

  /// The call for these operands; `rows` is padded already. Equal operands give the same call,
  /// which lives as long as this.
  const ContractionLibrary::Call* call(const codegen::LibraryContraction& contraction,
                                       const void* a, const void* b, void* out, std::int64_t rows);
  void run(const ContractionLibrary::Call& call) const;
  /// Runs the contraction by this algorithm. False if the algorithm does not support it;
  /// InternalError if it fails for another reason.
  bool try_algorithm(const codegen::LibraryContraction& contraction, const void* a, const void* b,
                     void* out, std::int64_t rows, const CublasAlgorithm& algorithm) const;

 private:
  struct Call;
  struct CallKey {
    ContractionKey key;
    const void *a = nullptr, *b = nullptr;
    void* out = nullptr;
    std::int64_t rows = 0;
    bool operator==(const CallKey&) const = default;
  };
  struct Hash {
    std::size_t operator()(const ContractionKey& key) const;
    std::size_t operator()(const CallKey& key) const;
  };

  void check(cublasStatus_t status, std::string_view function, std::string_view what = {}) const;
  std::unique_ptr<Call> make_call(const codegen::LibraryContraction& contraction,
                                  const CallKey& key) const;
  cublasStatus_t multiply(const Call& call) const;

  const CudaDevice& device_;
  Precision precision_;
  SharedLibrary library_;
  CublasFunctions functions_;
  std::string version_;
  cublasLtHandle_t handle_ = nullptr;
  CudaOwner<CUdeviceptr> workspace_;
  std::unordered_map<ContractionKey, CublasAlgorithm, Hash> algorithms_;
  std::unordered_map<CallKey, std::unique_ptr<Call>, Hash> calls_;
};

}  // namespace espalier::runtime
