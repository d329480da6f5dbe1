#include "runtime/cuda/modules.h"

#include <fmt/format.h>

namespace espalier::runtime {
namespace {

/// Shared memory that a launch may use without asking for more.
constexpr int default_shared_bytes = 48 << 10;

}  // namespace

CUfunction CudaModules::function(const codegen::CompiledKernel& kernel, int stage) {
  Loaded& loaded = loaded_[&kernel];
  if (loaded.module) return loaded.stages[std::size_t(stage)];
  device_.use();
  const std::string& name = kernel.kernel.name;
  loaded.module = device_.load(kernel.cubin, name);
  for (const codegen::CudaStage& one : kernel.cuda_stages) {
    const CUfunction function = device_.function(loaded.module.get(), one.symbol, name);
    if (one.shared_bytes > default_shared_bytes)
      device_.driver().check(
          device_.driver().functions().function_set_attribute(
              function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, int(one.shared_bytes)),
          "cuFuncSetAttribute", fmt::format("kernel '{}', {}", name, one.symbol));
    loaded.stages.push_back(function);
  }
  return loaded.stages[std::size_t(stage)];
}

}  // namespace espalier::runtime
