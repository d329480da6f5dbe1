// The trial that decides who multiplies: a product of some shape, timed on the device by a tile of
// our own and by cuBLAS with all that this takes, gathers and epilogue. The time is that of a batch
// of each of a few sizes, always the same ones: who multiplies must not depend on what is in a
// minibatch. Used by CudaProducts.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "codegen/compiler.h"
#include "codegen/kernel/library_calls.h"
#include "runtime/cuda/cublas.h"
#include "runtime/cuda/launcher.h"

namespace espalier::runtime {

struct GemmTrial {
  double tile_seconds = 0, library_seconds = 0;
  /// The library's best. Of a contraction: among those that give a row the same bits whatever the
  /// number of rows, which was seen on the device. Nothing if there is none.
  std::optional<GemmAlgorithm> algorithm;

  bool operator==(const GemmTrial&) const = default;
};

/// Whether the library is faster. UserError, naming the shape, if it has to do the product and
/// cannot.
bool chosen(const GemmTrial& trial, Gemm gemm, const codegen::GemmShape& shape);

/// As kept on disk; nothing if the text is none of these.
std::string to_text(const GemmTrial& trial);
std::optional<GemmTrial> parse_trial(std::string_view text);

/// A cell's kernel that multiplies like that and does little else: rows by index, tanh of the sums
/// of all gates; or a weight gradient.
codegen::Kernel trial_kernel(const codegen::GemmShape& shape, const codegen::Target& target);

class GemmTrials {
 public:
  /// `launcher` runs the products of `blas`. All outlive this.
  GemmTrials(const CudaDevice& device, CudaLauncher& launcher, CudaBlas& blas,
             codegen::Compiler& compiler)
      : device_(device), launcher_(launcher), blas_(blas), compiler_(compiler) {}

  GemmTrial run(const codegen::GemmShape& shape);
  /// The library's share of it.
  codegen::LibraryProduct product(const codegen::GemmShape& shape) const;

 private:
  std::int64_t most_rows() const;
  bool bf16() const { return blas_.precision() == GemmPrecision::bf16; }
  std::optional<GemmAlgorithm> best_algorithm(const codegen::LibraryProduct& product);
  /// Seconds of a product by this algorithm; nothing if it will not do.
  std::optional<double> measure(const codegen::LibraryProduct& product,
                                const GemmAlgorithm& algorithm);
  double time_kernel(const codegen::Kernel& kernel);
  double time(const std::function<void()>& work);

  const CudaDevice& device_;
  CudaLauncher& launcher_;
  CudaBlas& blas_;
  codegen::Compiler& compiler_;
};

}  // namespace espalier::runtime
