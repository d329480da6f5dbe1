#include "codegen/cpu/backend.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "codegen/cpu/jit.h"
#include "codegen/kernel/tiling.h"

namespace espalier::codegen {

namespace {

std::string print_target(const Target& target) {
  return fmt::format("target {} cpu {} features {} width {} registers {} fma {}\n", target.name,
                     target.cpu, target.features, target.width, target.registers, target.fma);
}

class CpuBackend : public Backend {
 public:
  CpuBackend(const Target& target, std::string_view fingerprint)
      : target_(target),
        jit_(target),
        key_prefix_(
            fmt::format("codegen {} {}\n{}", fingerprint, Jit::version(), print_target(target))) {}

  std::string key(const Kernel&, std::string_view text) const override {
    return key_prefix_ + std::string(text);
  }

  std::string compile(const Kernel& kernel) override {
    internal_check(std::ranges::none_of(kernel.buffers, &Buffer::bf16),
                   "kernel '{}': CPUs keep no bfloat16", kernel.name);
    return jit_.compile(kernel);
  }

  void load(std::string object, CompiledKernel& into) override {
    const Kernel& kernel = into.kernel;
    const std::vector<StageFunction> functions = jit_.load(object, kernel.stages.size());
    into.stages.clear();
    for (std::size_t i = 0; i < functions.size(); ++i) {
      const Stage& stage = kernel.stages[i];
      const int row_tile = stage.contraction ? contraction_tile(kernel, stage, target_).rows : 1;
      into.stages.push_back(
          {functions[i], stage.rows, stage.port, stage_parts(kernel, stage, target_), row_tile});
    }
  }

 private:
  Target target_;
  Jit jit_;
  std::string key_prefix_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(const Target& target, std::string_view fingerprint) {
  return std::make_unique<CpuBackend>(target, fingerprint);
}

}  // namespace espalier::codegen
