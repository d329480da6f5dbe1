// Printed CUDA C++ made to run on this machine's processor, by the C++ compiler of the build and
// cuda_shim.h. Tests of the printer use it, and whoever stands in for a CUDA driver.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "codegen/cuda/emit.h"

namespace espalier::test {

/// One text as a shared object in this process.
class HostModule {
 public:
  /// Compiles, or finds the object of the same text in the tests' cache. Throws InternalError with
  /// the compiler's messages.
  explicit HostModule(const std::string& source);
  ~HostModule();
  HostModule(const HostModule&) = delete;
  HostModule& operator=(const HostModule&) = delete;

  /// The address of a kernel; null if there is none of that name.
  void* symbol(const std::string& name) const;
  /// As cuLaunchKernel: `args[0]` points at the kernel's one argument, a pointer.
  void launch(void* kernel, unsigned grid, unsigned block, std::size_t shared_bytes, void** args,
              bool cooperative = false) const;

 private:
  void* library_ = nullptr;
};

/// Many kernels compiled as one text, which is quicker than each by itself.
class HostKernels {
 public:
  /// The kernel's number; the same one for a kernel of the same text.
  int add(const codegen::Kernel& kernel);
  /// Call after the last add().
  void compile();
  const codegen::CudaText& text(int kernel) const { return texts_[std::size_t(kernel)]; }
  /// All kernels behind one prelude.
  std::string source() const;
  /// Runs a stage, and those joined to it, for the rows on a grid of so many blocks; nothing for a
  /// stage that is joined to another.
  void run(int kernel, int stage, void* const* buffers, std::int64_t row_begin,
           std::int64_t row_end, unsigned grid) const;

 private:
  std::vector<codegen::CudaText> texts_;
  std::unordered_map<std::string, int> numbers_;  // of kernels as printed
  std::unique_ptr<HostModule> module_;
};

}  // namespace espalier::test
