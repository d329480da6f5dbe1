// The CUDA side of a Compiler: printed kernels, compiled by NVRTC.
#include "codegen/cuda/backend.h"

#include <fmt/format.h>

#include "base/error.h"
#include "codegen/cuda/emit.h"
#include "codegen/cuda/nvrtc.h"

namespace espalier::codegen {

namespace {

class CudaBackend : public Backend {
 public:
  explicit CudaBackend(const Target& target) : architecture_(target.name) {
    const auto& [version, problem] = nvrtc_state();
    user_check(!version.empty(), "target '{}' needs NVRTC, and there is none: {}", architecture_,
               problem);
  }

  std::string key(const Kernel& kernel, std::string_view) const override {
    return cubin_key(print_cuda(kernel).source, architecture_);
  }

  std::string compile(const Kernel& kernel) override {
    return compile_cubin(print_cuda(kernel).source, architecture_);
  }

  void load(std::string object, CompiledKernel& into) override {
    internal_check(object.starts_with("\177ELF"), "kernel '{}': the object is no cubin",
                   into.kernel.name);
    into.cubin = std::move(object);
    into.cuda_stages = print_cuda_stages(into.kernel, "").stages;
  }

 private:
  std::string architecture_;
};

}  // namespace

std::string cubin_key(const std::string& source, std::string_view architecture) {
  return fmt::format("NVRTC {} {}\n{}", nvrtc_state().version, architecture, source);
}

std::unique_ptr<Backend> make_cuda_backend(const Target& target) {
  return std::make_unique<CudaBackend>(target);
}

}  // namespace espalier::codegen
