// From the gradients that kernels left to new params: rows of embeddings are summed, the norm is
// measured, the optimizer's updates are applied. Implemented for the host's memory (runtime/cpu)
// and by kernels for devices (runtime/update); called by the engine.
#pragma once

#include <vector>

#include "runtime/step/binding.h"
#include "runtime/step/optimizer.h"
#include "runtime/step/request.h"

namespace espalier::runtime {

class Update {
 public:
  virtual ~Update() = default;

  /// Makes the dense gradients that `collect` will need.
  virtual void make_gradients(const Memory& memory, const CellKernels& kernels) = 0;
  /// The same, and returns the bytes by which `collect` will grow.
  virtual std::size_t forecast(const Memory& memory, const CellKernels& kernels,
                               const StepRequest& request) = 0;
  /// Upper bound on what `collect` and `apply` stage on a device.
  virtual Staged staged(const Memory&, const CellKernels&, const StepRequest&) { return {}; }

  /// Sums the row contributions of all cells into gradients of params, and measures the norm. A
  /// dense gradient that no kernel wrote becomes 0, or stays if the request accumulates.
  virtual void collect(const Memory& memory, const CellKernels& kernels,
                       const StepRequest& request) = 0;
  /// Euclidean norm of what was collected; the same for any number of threads.
  virtual double norm() = 0;
  /// What was collected, dense and in C order; zeros for a param that got no gradient.
  virtual std::vector<float> dense_gradient(ParamStore& params, ir::ParamId param) = 0;

  /// Before a step: makes room for the optimizer's state where a device keeps it.
  virtual void adopt(Optimizer&) {}
  /// Updates the params by what was collected.
  virtual void apply(ParamStore& params, Optimizer& optimizer) = 0;

  /// Held by lists of rows in the host's memory; gradients are counted as buffers.
  virtual std::size_t bytes() const { return 0; }
};

}  // namespace espalier::runtime
