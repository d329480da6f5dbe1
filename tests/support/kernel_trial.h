// One random cell put on trial: its passes in double, its gradients against central differences,
// its kernels, run whichever way, against both. Used by tests of a thousand seeds and by
// tests/fuzz/random_check.cpp for any number.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "codegen/compiler.h"
#include "codegen/kernel/lower.h"
#include "tests/support/fault.h"
#include "tests/support/kernel_harness.h"

namespace espalier::test {

/// Runs the stages of kernels lowered for a target.
struct KernelPath {
  std::string name;
  codegen::Target target;
  KernelHarness::RunStage run;
};

/// The interpreter, on kernels as they are lowered for the target.
KernelPath interpreted(const codegen::Target& target);
/// Compiled for a CPU.
KernelPath compiled(std::shared_ptr<codegen::Compiler> compiler);

/// The cell of a program that has one, differentiated, with inputs and all that it gives in double.
class KernelTrial {
 public:
  KernelTrial(const ir::Program& program, std::uint64_t seed);
  ~KernelTrial();

  /// The passes keep values, gradients are central differences. What a border refuses is a fault.
  Fault check_passes();
  /// Forward, backward and weight gradients; after check_passes().
  Fault check_kernels(const KernelPath& path);
  /// Kernels that check_kernels would run.
  std::vector<codegen::Kernel> kernels(const codegen::Target& target) const;
  /// The largest error met, as a part of what was allowed.
  double worst() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace espalier::test
