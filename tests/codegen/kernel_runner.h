// Runs hand-built kernels compiled and interpreted, on every target of this machine, and compares
// what they leave in memory. Buffers end at pages that cannot be touched, so that a vector that
// reads or writes past its end is caught here and not in a model.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "codegen/compiler.h"
#include "codegen/kernel/kernel.h"
#include "codegen/kernel/target.h"

namespace espalier::codegen {

/// Bytes whose end, or the next multiple of 64 if `aligned`, lies at an inaccessible page.
class GuardedBuffer {
 public:
  GuardedBuffer(std::size_t bytes, bool aligned);
  GuardedBuffer(const GuardedBuffer& other);
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;
  ~GuardedBuffer();

  void* data() const { return data_; }
  std::size_t size() const { return bytes_; }

 private:
  std::size_t bytes_, mapped_ = 0;
  bool aligned_;
  void* memory_ = nullptr;
  void* data_ = nullptr;
};

/// One buffer for each of a kernel's, in their order.
class Memory {
 public:
  /// Adds `count` uniform floats in [-1, 1).
  void add_floats(std::int64_t count, std::mt19937& random, bool aligned = false);
  void add_floats(std::span<const float> values, bool aligned = false);
  void add_integers(std::span<const std::int32_t> values);
  void add_keys(std::span<const std::uint64_t> values);

  std::vector<void*> pointers() const;
  std::span<float> floats(BufferId id) const;
  const std::vector<GuardedBuffer>& buffers() const { return buffers_; }

 private:
  void add(const void* data, std::size_t bytes, bool aligned);
  std::vector<GuardedBuffer> buffers_;
};

struct Expectation {
  double ulps = 0;      ///< the most by which floats may differ, in units of the last place …
  double absolute = 0;  ///< … or absolutely; where both are 0, bits must be equal
};

struct Case {
  std::function<Kernel(const Target&)> kernel;
  std::function<Memory(const Kernel&)> memory;
  std::int64_t rows = 0;        ///< of stages over instances
  std::int64_t child_rows = 0;  ///< of stages over children
  Expectation expect = {};
};

/// Checks on every target that the compiled kernel agrees with the interpreter, and with itself
/// however rows and parts are split.
void check(const Case& test);

/// Fails if a float differs from what was wanted by more than is expected; `what` says whose it is.
void compare(const Kernel& kernel, const Memory& got, const Memory& wanted,
             const Expectation& expect, const std::string& what);

/// The compiler of a target, shared by the tests; without a disk cache.
Compiler& compiler(const Target& target);

/// Runs all stages for all rows and parts.
void run(const CompiledKernel& kernel, const Memory& memory, std::int64_t rows,
         std::int64_t child_rows);

/// A stage over instances with a row variable and these extents; variables are new.
Stage instance_stage(KernelBuilder& builder, std::vector<std::int64_t> extents);
Stage once_stage(KernelBuilder& builder, std::vector<std::int64_t> extents);

/// The element at (row, coordinates) of a C-ordered [rows, extents...] buffer.
ExprId element(KernelBuilder& builder, const Stage& stage);

/// Distance in units of the last place; 0 for two NaNs.
double ulp_distance(float a, float b);

}  // namespace espalier::codegen
