// Matrix products by cuBLASLt, loaded at run time: its functions, and calls whose operands are
// fixed, so that CUDA graphs can hold them. Owned by the CUDA executor, run by the launcher. Sums
// are in single precision in a fixed workspace, never by an algorithm that is not reproducible.
#pragma once

#include <cublasLt.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "codegen/kernel/kernel.h"
#include "runtime/cuda/driver.h"
#include "runtime/cuda/library.h"

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

/// A configured algorithm, as cuBLASLt lets it be kept for the same version of the library.
using LibraryAlgorithm = std::array<std::uint64_t, 8>;

/// What an algorithm is chosen for. A contraction's serves any number of rows.
struct LibraryKey {
  bool over_rows = false, accumulates = false;
  std::uint32_t out_alignment = 0;  ///< of its rows, in bytes
  std::int64_t m = 0, k = 0, a_pitch = 0, b_pitch = 0, out_pitch = 0;
  std::int64_t rows = 0;  ///< of a product over rows, else 0

  bool operator==(const LibraryKey&) const = default;
};
LibraryKey library_key(const codegen::LibraryContraction& product, std::int64_t rows);

/// Whether the library is there.
bool has_cublas();

class CudaBlas {
 public:
  /// Of the device's memory, which it takes for all products.
  static constexpr std::size_t workspace_bytes = std::size_t{8} << 20;

  /// UserError, naming what is missing, if there is no cuBLASLt.
  CudaBlas(const CudaDevice& device, Precision precision);
  ~CudaBlas();
  CudaBlas(const CudaBlas&) = delete;
  CudaBlas& operator=(const CudaBlas&) = delete;

  /// `13.1.0`
  const std::string& version() const { return version_; }
  Precision precision() const { return precision_; }

  /// Up to `most` algorithms, by the library's estimate the best first. Those for contractions do
  /// not split k.
  std::vector<LibraryAlgorithm> candidates(const codegen::LibraryContraction& product,
                                           std::int64_t rows, int most) const;
  /// The algorithm of all contractions of this shape from here on.
  void fix(const codegen::LibraryContraction& product, const LibraryAlgorithm& algorithm);

  /// The call, of rows that are padded already, which lives as long as this; the same one for the
  /// same operands.
  const Library::Call* call(const codegen::LibraryContraction& product, const void* a,
                            const void* b, void* out, std::int64_t rows);
  void run(const Library::Call& call) const;
  /// Whether the algorithm can do, and then does, the product. InternalError if that fails for
  /// another reason.
  bool try_algorithm(const codegen::LibraryContraction& product, const void* a, const void* b,
                     void* out, std::int64_t rows, const LibraryAlgorithm& algorithm) const;

 private:
  struct Product;
  struct CallKey {
    LibraryKey key;
    const void *a = nullptr, *b = nullptr;
    void* out = nullptr;
    std::int64_t rows = 0;
    bool operator==(const CallKey&) const = default;
  };
  struct Hash {
    std::size_t operator()(const LibraryKey& key) const;
    std::size_t operator()(const CallKey& key) const;
  };

  void check(cublasStatus_t status, std::string_view function, std::string_view what = {}) const;
  std::unique_ptr<Product> make_call(const codegen::LibraryContraction& product,
                                     const CallKey& key) const;
  cublasStatus_t multiply(const Product& call) const;

  const CudaDevice& device_;
  Precision precision_;
  SharedLibrary library_;
  CublasFunctions functions_;
  std::string version_;
  cublasLtHandle_t handle_ = nullptr;
  CudaOwner<CUdeviceptr> workspace_;
  std::unordered_map<LibraryKey, LibraryAlgorithm, Hash> algorithms_;
  std::unordered_map<CallKey, std::unique_ptr<Product>, Hash> calls_;
};

}  // namespace espalier::runtime
