// Contractions that a library (cuBLAS) computes instead of a tile that we print: which shapes,
// found out once by a trial, and the calls. Made by the CUDA executor, whose launcher runs the
// calls. A build without the library's headers has contraction_library_none.cpp in place of the
// sources.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "codegen/compiler.h"
#include "codegen/kernel/library_calls.h"
#include "runtime/step/options.h"

namespace espalier::runtime {

class CudaDevice;
class CudaLauncher;

class ContractionLibrary {
 public:
  virtual ~ContractionLibrary() = default;

  /// Whether the library computes contractions of this shape, whatever their number of rows.
  /// Decided by a trial whose outcome is cached on disk.
  virtual bool by_library(const codegen::ContractionShape& shape) = 0;
  /// Whether factors are rounded to bfloat16.
  virtual bool bf16() const = 0;

  /// A contraction of certain operands, which a CUDA graph may hold.
  struct Call {};
  /// The contraction of a stage for rows [row_begin, row_end), padded to the library's row counts.
  /// Equal arguments give the same call, which lives as long as this.
  virtual const Call* call(const codegen::LibraryContraction& contraction, void* const* buffers,
                           std::int64_t row_begin, std::int64_t row_end) = 0;
  /// Puts the call on the device's stream.
  virtual void run(const Call& call) const = 0;
  /// Device memory that the library uses as workspace.
  virtual std::size_t bytes() const = 0;
};

/// Null if the options leave no contraction to the library. UserError if the options demand the
/// library and it is missing. Failed trials are added to `warnings`. All arguments must outlive the
/// result.
std::unique_ptr<ContractionLibrary> make_contraction_library(const CudaDevice& device,
                                                             CudaLauncher& launcher,
                                                             codegen::Compiler& compiler,
                                                             const EngineOptions& options,
                                                             std::vector<std::string>& warnings);

/// Flops per second of a large contraction by the library, with matrices of up to 8192 × 8192; 0 if
/// the library is missing.
double contraction_rate(const CudaDevice& device, Precision precision);

/// The library's version, or why there is none. For CudaReport.
std::string cublas_version();

}  // namespace espalier::runtime
