// The trial that decides who computes contractions of a shape: a tile of our own or cuBLAS, both
// timed on the device with everything that they need (gathers, epilogue). The times are sums over a
// few batch sizes that are always the same, so the decision does not depend on any minibatch. Used
// by ContractionLibrary.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "codegen/compiler.h"
#include "codegen/kernel/library_calls.h"
#include "runtime/cuda/cublas.h"
#include "runtime/cuda/launcher.h"

namespace espalier::runtime {

struct ContractionTrial {
  double tile_seconds = 0, library_seconds = 0;
  /// The library's fastest algorithm; nothing if there is none. Except for outer products, only
  /// algorithms count that were seen to give a row the same bits whatever the number of rows.
  std::optional<CublasAlgorithm> algorithm;

  bool operator==(const ContractionTrial&) const = default;
};

/// Whether the library is to be used. UserError, naming the shape, if the options demand it and it
/// has no algorithm.
bool prefers_library(const ContractionTrial& trial, Contractions contractions,
                     const codegen::ContractionShape& shape);

/// For the disk cache. parse_trial gives nothing for any text that to_text did not write.
std::string to_text(const ContractionTrial& trial);
std::optional<ContractionTrial> parse_trial(std::string_view text);

class ContractionTrials {
 public:
  /// `launcher` runs the calls of `blas`. All arguments must outlive this.
  ContractionTrials(const CudaDevice& device, CudaLauncher& launcher, Cublas& blas,
                    codegen::Compiler& compiler)
      : device_(device), launcher_(launcher), blas_(blas), compiler_(compiler) {}

  ContractionTrial run(const codegen::ContractionShape& shape);
  /// The library's part of a kernel with such a contraction.
  codegen::LibraryContraction contraction(const codegen::ContractionShape& shape) const;

 private:
  std::int64_t most_rows() const;
  bool bf16() const { return blas_.precision() == Precision::bf16; }
  std::optional<CublasAlgorithm> best_algorithm(const codegen::LibraryContraction& contraction);
  /// Seconds by this algorithm; nothing if it cannot be used.
  std::optional<double> measure(const codegen::LibraryContraction& contraction,
                                const CublasAlgorithm& algorithm);
  double time_kernel(const codegen::Kernel& kernel);
  double time(const std::function<void()>& work);

  const CudaDevice& device_;
  CudaLauncher& launcher_;
  Cublas& blas_;
  codegen::Compiler& compiler_;
};

}  // namespace espalier::runtime
