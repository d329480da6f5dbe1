// A plan of step kernels: compiled, bound to their buffers and handed to the executor. Each part of
// runtime/update has one.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

#include "codegen/compiler.h"
#include "runtime/step/executor.h"

namespace espalier::runtime {

using Compiled = const codegen::CompiledKernel*;

class StepPlan {
 public:
  /// Both outlive this.
  StepPlan(Executor& executor, codegen::Compiler& compiler)
      : executor_(executor), compiler_(compiler) {}

  Compiled compile(codegen::Kernel kernel) { return &compiler_.compile(std::move(kernel)); }
  /// Adds a kernel with these buffers over rows [0, count).
  void add(const codegen::CompiledKernel& kernel, std::span<const void* const> buffers,
           std::int64_t count = 0);
  void add(const codegen::CompiledKernel& kernel, std::initializer_list<const void*> buffers,
           std::int64_t count = 0) {
    add(kernel, std::span(buffers.begin(), buffers.size()), count);
  }
  /// Hands what was added to the executor.
  void run();
  /// Forgets what was added.
  void drop() { plan_.clear(); }

  template <class T>
  const T* place(std::span<const T> values) {
    return static_cast<const T*>(executor_.place(values.data(), values.size_bytes()));
  }
  template <class T>
  const T* place(const std::vector<T>& values) {
    return place(std::span<const T>(values));
  }
  DeviceMemory& memory() { return *executor_.memory(); }

 private:
  Executor& executor_;
  codegen::Compiler& compiler_;
  Plan plan_;
};

/// The kernel for `key` in a list of (key, kernel); made the first time.
template <class Kernels, class Key, class Make>
const codegen::CompiledKernel& kernel_for(Kernels& kernels, const Key& key, const Make& make) {
  for (const auto& [known, kernel] : kernels)
    if (known == key) return *kernel;
  kernels.emplace_back(key, make());
  return *kernels.back().second;
}

}  // namespace espalier::runtime
