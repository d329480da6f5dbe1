#include "codegen/compiler.h"

#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/disk_cache.h"
#include "base/error.h"
#include "codegen/cpu/backend.h"
#include "codegen/cuda/backend.h"
#include "codegen/cuda/nvrtc.h"
#include "codegen/fingerprint.h"
#include "codegen/kernel/print.h"
#include "codegen/kernel/verify.h"

namespace espalier::codegen {

struct Compiler::Impl {
  Target target;
  DiskCache cache;
  std::unique_ptr<Backend> backend;
  CompilerStatistics statistics;
  std::unordered_map<std::string, std::unique_ptr<CompiledKernel>> kernels;  // by their full text
  std::unordered_map<std::string, std::string> texts;                        // text → cubin
  mutable std::mutex mutex;

  Impl(Target t, CompilerOptions options)
      : target(std::move(t)),
        cache(std::move(options.cache_directory)),
        backend(target.kind == TargetKind::cuda ? make_cuda_backend(target)
                                                : make_cpu_backend(target, source_fingerprint())) {}

  void make(CompiledKernel& compiled, const std::string& text) {
    const std::string key = backend->key(compiled.kernel, text);
    if (auto found = cache.load(key)) {
      try {
        backend->load(std::move(*found), compiled);
        ++statistics.disk_hits;
        return;
      } catch (const InternalError&) {
        // The file is intact but not an object of this kernel: compile it again.
      }
    }
    std::string object = backend->compile(compiled.kernel);
    ++statistics.compilations;
    cache.store(key, object);
    backend->load(std::move(object), compiled);
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
    auto compiled = std::make_unique<CompiledKernel>();
    compiled->kernel = std::move(kernel);
    make(*compiled, text);
    return *kernels.emplace(std::move(text), std::move(compiled)).first->second;
  }

  const std::string& compile_text(const std::string& source) {
    if (const auto found = texts.find(source); found != texts.end()) {
      ++statistics.memory_hits;
      return found->second;
    }
    internal_check(target.kind == TargetKind::cuda, "'{}' compiles no CUDA texts", target.name);
    const std::string key = cubin_key(source, target.name);
    std::optional<std::string> object = cache.load(key);
    if (object) {
      ++statistics.disk_hits;
    } else {
      object = compile_cubin(source, target.name);
      ++statistics.compilations;
      cache.store(key, *object);
    }
    return texts.emplace(source, std::move(*object)).first->second;
  }

  /// Calls compile() with the compiler to itself, and counts its time.
  template <class Compile>
  auto& timed(const Compile& compile) {
    const std::lock_guard lock(mutex);
    const auto start = std::chrono::steady_clock::now();
    auto& compiled = compile();
    statistics.seconds +=
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return compiled;
  }
};

Compiler::Compiler(Target target, CompilerOptions options)
    : impl_(std::make_unique<Impl>(std::move(target), std::move(options))) {}

Compiler::~Compiler() = default;

const Target& Compiler::target() const { return impl_->target; }

const CompiledKernel& Compiler::compile(Kernel kernel) {
  return impl_->timed([&]() -> auto& { return impl_->compile(std::move(kernel)); });
}

const std::string& Compiler::compile_text(const std::string& source) {
  return impl_->timed([&]() -> auto& { return impl_->compile_text(source); });
}

CompilerStatistics Compiler::statistics() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->statistics;
}

std::string Compiler::cache_problem() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->cache.problem();
}

}  // namespace espalier::codegen
