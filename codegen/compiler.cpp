#include "codegen/compiler.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <mutex>
#include <string>
#include <unordered_map>

#include "codegen/cpu_jit.h"
#include "codegen/fingerprint.h"
#include "codegen/kernel_cache.h"
#include "codegen/print_kernel.h"
#include "codegen/tiling.h"
#include "codegen/verify_kernel.h"
#include "ir/error.h"

namespace espalier::codegen {

namespace {

std::string print_target(const Target& target) {
  return fmt::format("target {} cpu {} features {} width {} registers {} fma {}\n", target.name,
                     target.cpu, target.features, target.width, target.registers, target.fma);
}

}  // namespace

struct Compiler::Impl {
  Target target;
  KernelCache cache;
  Jit jit;
  std::string key_prefix;
  CompilerStatistics statistics;
  std::unordered_map<std::string, std::unique_ptr<CompiledKernel>> kernels;  // by their full text
  mutable std::mutex mutex;

  Impl(Target t, CompilerOptions options)
      : target(std::move(t)),
        cache(std::move(options.cache_directory)),
        jit(target),
        key_prefix(fmt::format("codegen {} {}\n{}", source_fingerprint(), Jit::version(),
                               print_target(target))) {}

  std::vector<StageFunction> functions(const Kernel& kernel, const std::string& text) {
    const std::string key = key_prefix + text;
    if (const auto found = cache.load(key)) {
      try {
        std::vector<StageFunction> loaded = jit.load(*found, kernel.stages.size());
        ++statistics.disk_hits;
        return loaded;
      } catch (const InternalError&) {
        // It was whole but no object of this kernel: made anew below.
      }
    }
    const std::string object = jit.compile(kernel);
    ++statistics.compilations;
    if (!cache.store(key, object)) statistics.cache_unwritable = true;
    return jit.load(object, kernel.stages.size());
  }

  const CompiledKernel& compile(Kernel kernel) {
    std::string text = print_kernel(kernel);
    if (const auto found = kernels.find(text); found != kernels.end()) {
      ++statistics.memory_hits;
      return *found->second;
    }
#ifdef ESPALIER_VERIFY
    verify_kernel(kernel);
#endif
    const std::vector<StageFunction> made = functions(kernel, text);
    auto compiled = std::make_unique<CompiledKernel>();
    compiled->kernel = std::move(kernel);
    for (std::size_t i = 0; i < made.size(); ++i) {
      const Stage& stage = compiled->kernel.stages[i];
      const int row_tile =
          stage.contraction ? contraction_tile(compiled->kernel, stage, target).rows : 1;
      compiled->stages.push_back({made[i], stage.rows, stage.port,
                                  stage_parts(compiled->kernel, stage, target), row_tile});
    }
    return *kernels.emplace(std::move(text), std::move(compiled)).first->second;
  }
};

Compiler::Compiler(Target target, CompilerOptions options)
    : impl_(std::make_unique<Impl>(std::move(target), std::move(options))) {}

Compiler::~Compiler() = default;

const Target& Compiler::target() const { return impl_->target; }

const CompiledKernel& Compiler::compile(Kernel kernel) {
  const std::lock_guard lock(impl_->mutex);
  const auto start = std::chrono::steady_clock::now();
  const CompiledKernel& compiled = impl_->compile(std::move(kernel));
  impl_->statistics.seconds +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return compiled;
}

CompilerStatistics Compiler::statistics() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->statistics;
}

std::filesystem::path default_cache_directory() {
  // By the XDG base directory specification, a relative path counts as unset.
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache == '/')
    return std::filesystem::path(cache) / "espalier";
  if (const char* home = std::getenv("HOME"); home && *home)
    return std::filesystem::path(home) / ".cache" / "espalier";
  return {};
}

}  // namespace espalier::codegen
