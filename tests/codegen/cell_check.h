// Kernels of a cell, run whichever way, against the cell evaluated in double: outputs, gradients of
// the children, weight gradients. Tests of lowering and of every emitter use it.
#pragma once

#include <functional>
#include <vector>

#include "codegen/kernel/lower.h"
#include "tests/support/cells.h"
#include "tests/support/kernel_harness.h"

namespace espalier::test {

/// Runs the stages of kernels lowered for a target.
struct Runner {
  codegen::Target target;
  KernelHarness::RunStage run;
  /// Done to kernels before they run, if given.
  std::function<codegen::Kernel(codegen::Kernel)> form = {};
};

/// The interpreter, on kernels lowered for AVX-512.
Runner interpreter();

/// One for each target of this machine, the widest first.
std::vector<Runner> compiled_runners();

class CellCheck {
 public:
  CellCheck(const ir::Program& program, const ir::Cell& source, std::vector<CellInputs> inputs,
            Random& random, const Runner& runner);

  /// Forward, backward, weight gradients, which are added to what is there.
  std::vector<const codegen::Kernel*> kernels() const { return {&forward_, &backward_, &weights_}; }
  /// All that the kernels have left in memory.
  const KernelHarness& harness() const { return harness_; }
  void run();

 private:
  void check_forward();
  int most_children() const;
  /// Of the nodes of the backward graph. What the forward pass has kept was rounded too.
  std::vector<double> backward_depth() const;
  void check_backward();
  /// Of a param's gradient: those of the values, one for each term of the sum, and one for the
  /// product that a term is.
  double param_roundings(ir::ParamId param, const std::vector<double>& depth) const;
  /// `dense` less the rows that the runtime adds is what the weight kernel must have added.
  void check_params(std::vector<std::vector<double>>& dense, const std::vector<double>& depth);

  const ir::Program& program_;
  const Runner& runner_;
  ir::Cell cell_;
  ir::Differentiated d_;
  std::vector<CellInputs> inputs_;
  Random& random_;
  codegen::BackwardStorage storage_;
  KernelHarness harness_;
  codegen::Kernel forward_, backward_, weights_;
};

/// The same params for all instances, and only numbers that single precision holds.
std::vector<CellInputs> as_floats(std::vector<CellInputs> inputs);

}  // namespace espalier::test
