// Compiled kernels on the device: each is loaded the first time that it is asked for and stays
// loaded. Owned by the launcher; used wherever kernels are launched by themselves.
#pragma once

#include <unordered_map>
#include <vector>

#include "codegen/kernel/compiled_kernel.h"
#include "runtime/cuda/driver.h"

namespace espalier::runtime {

class CudaModules {
 public:
  explicit CudaModules(const CudaDevice& device) : device_(device) {}

  /// The function of one of the kernel's cuda_stages, ready to be launched.
  CUfunction function(const codegen::CompiledKernel& kernel, int stage);

 private:
  struct Loaded {
    CudaOwner<CUmodule> module;
    std::vector<CUfunction> stages;
  };

  const CudaDevice& device_;
  std::unordered_map<const codegen::CompiledKernel*, Loaded> loaded_;
};

}  // namespace espalier::runtime
