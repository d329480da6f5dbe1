// Runs printed CUDA C++ on this machine's processor, compiled with cuda_shim.h by the C++ compiler
// of the build. Used by tests of code generation.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "codegen/cuda/emit.h"

namespace espalier::test {

/// A source, compiled and loaded as a shared object.
class HostModule {
 public:
  /// Compiles the source, or finds its object in the disk cache of the tests. InternalError with
  /// the compiler's messages if that fails.
  explicit HostModule(const std::string& source);
  ~HostModule();
  HostModule(const HostModule&) = delete;
  HostModule& operator=(const HostModule&) = delete;

  /// The address of a kernel; null if there is no kernel of that name.
  void* symbol(const std::string& name) const;
  /// Like cuLaunchKernel: `args[0]` points to the kernel's only argument, a pointer.
  void launch(void* kernel, unsigned grid, unsigned block, std::size_t shared_bytes, void** args,
              bool cooperative = false) const;

 private:
  void* library_ = nullptr;
};

/// Many kernels compiled as one source, which is faster than compiling each by itself.
class HostKernels {
 public:
  /// Returns the kernel's number. Equal kernels have the same number.
  int add(const codegen::Kernel& kernel);
  /// To be called after the last add().
  void compile();
  const codegen::CudaText& text(int kernel) const { return texts_[std::size_t(kernel)]; }
  /// The prelude followed by all kernels.
  std::string source() const;
  /// Runs a stage and those joined to it on `grid` blocks. Does nothing for a stage that is joined
  /// to another one.
  void run(int kernel, int stage, void* const* buffers, std::int64_t row_begin,
           std::int64_t row_end, unsigned grid) const;

 private:
  std::vector<codegen::CudaText> texts_;
  std::unordered_map<std::string, int> numbers_;  // of kernels as printed
  std::unique_ptr<HostModule> module_;
};

}  // namespace espalier::test
