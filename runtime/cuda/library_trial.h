// The trial that decides who multiplies: a product of some shape, timed on the device by a tile of
// our own and by cuBLAS with all that this takes, gathers and epilogue. The time is that of a batch
// of each of a few sizes, always the same ones: who multiplies must not depend on what is in a
// minibatch. Used by Library.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "codegen/compiler.h"
#include "codegen/kernel/library_calls.h"
#include "runtime/cuda/cublas.h"
#include "runtime/cuda/launcher.h"

namespace espalier::runtime {

struct LibraryTrial {
  double tile_seconds = 0, library_seconds = 0;
  /// The library's best. Of a contraction: among those that give a row the same bits whatever the
  /// number of rows, which was seen on the device. Nothing if there is none.
  std::optional<LibraryAlgorithm> algorithm;

  bool operator==(const LibraryTrial&) const = default;
};

/// Whether the library is faster. UserError, naming the shape, if it has to do the product and
/// cannot.
bool chosen(const LibraryTrial& trial, Contractions contractions,
            const codegen::ContractionShape& shape);

/// As kept on disk; nothing if the text is none of these.
std::string to_text(const LibraryTrial& trial);
std::optional<LibraryTrial> parse_trial(std::string_view text);

/// A cell's kernel that multiplies like that and does little else: rows by index, tanh of the sums
/// of all gates; or a weight gradient.
codegen::Kernel trial_kernel(const codegen::ContractionShape& shape, const codegen::Target& target);

class LibraryTrials {
 public:
  /// `launcher` runs the products of `blas`. All outlive this.
  LibraryTrials(const CudaDevice& device, CudaLauncher& launcher, CudaBlas& blas,
                codegen::Compiler& compiler)
      : device_(device), launcher_(launcher), blas_(blas), compiler_(compiler) {}

  LibraryTrial run(const codegen::ContractionShape& shape);
  /// The library's share of it.
  codegen::LibraryContraction product(const codegen::ContractionShape& shape) const;

 private:
  std::int64_t most_rows() const;
  bool bf16() const { return blas_.precision() == Precision::bf16; }
  std::optional<LibraryAlgorithm> best_algorithm(const codegen::LibraryContraction& product);
  /// Seconds of a product by this algorithm; nothing if it will not do.
  std::optional<double> measure(const codegen::LibraryContraction& product,
                                const LibraryAlgorithm& algorithm);
  double time_kernel(const codegen::Kernel& kernel);
  double time(const std::function<void()>& work);

  const CudaDevice& device_;
  CudaLauncher& launcher_;
  CudaBlas& blas_;
  codegen::Compiler& compiler_;
};

}  // namespace espalier::runtime
