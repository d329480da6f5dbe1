// Products of kernels that a library does on a GPU rather than a tile that we print: which of them,
// decided once a shape, and their calls. Made by the CUDA executor, whose launcher runs the calls;
// a build without the library's headers has cuda_products_none.cpp.
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

class Library {
 public:
  virtual ~Library() = default;

  /// Whether the library is to do products of this shape, for any number of rows. Found out by a
  /// trial, whose outcome is kept on disk.
  virtual bool by_library(const codegen::ContractionShape& shape) = 0;
  /// Whether it takes bfloat16.
  virtual bool bf16() const = 0;

  /// A product of certain operands, as CUDA graphs hold it.
  struct Call {};
  /// The product of a stage for rows [row_begin, row_end), which it pads. Equal ones are the same
  /// call, which lives as long as this.
  virtual const Call* call(const codegen::LibraryContraction& product, void* const* buffers,
                           std::int64_t row_begin, std::int64_t row_end) = 0;
  /// On the device's stream.
  virtual void run(const Call& call) const = 0;
  /// Of the device's memory that the library works in.
  virtual std::size_t bytes() const = 0;
};

/// Null if no product is to be the library's. UserError if it must be and there is none. Trials
/// that fail are added to `warnings`. All outlive it.
std::unique_ptr<Library> make_library(const CudaDevice& device, CudaLauncher& launcher,
                                      codegen::Compiler& compiler, const EngineOptions& options,
                                      std::vector<std::string>& warnings);

/// Operations a second of a large product by the library, of matrices of up to 8192 × 8192; 0 if
/// it is not there.
double library_rate(const CudaDevice& device, Precision precision);

/// For CudaReport: the library's version, or why there is none.
std::string cublas_version();

}  // namespace espalier::runtime
