// The plan of step kernels in the making, on a device. Owned by DeviceUpdate, used by its parts.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include "codegen/compiler.h"
#include "runtime/step/executor.h"

namespace espalier::runtime {

using Compiled = const codegen::CompiledKernel*;

class DevicePlan {
 public:
  /// Both outlive this.
  DevicePlan(Executor& executor, codegen::Compiler& compiler)
      : executor_(executor), compiler_(compiler) {}

  Compiled compile(codegen::Kernel kernel) { return &compiler_.compile(std::move(kernel)); }
  /// Adds a kernel with these buffers over rows [0, count).
  void add(const codegen::CompiledKernel& kernel, std::span<const void* const> buffers,
           std::int64_t count = 0);
  void add(const codegen::CompiledKernel& kernel, std::initializer_list<const void*> buffers,
           std::int64_t count = 0) {
    add(kernel, std::span(buffers.begin(), buffers.size()), count);
  }
  /// Hands what was added over to run.
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

}  // namespace espalier::runtime
