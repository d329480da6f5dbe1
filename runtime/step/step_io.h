// What enters and leaves a step besides the work of cells: packed weights, inputs, the gradients of
// losses, their values. Implemented once for the host (runtime/cpu) and once by kernels for devices
// (runtime/update); called by the engine.
#pragma once

#include "runtime/step/binding.h"
#include "runtime/step/request.h"

namespace espalier::runtime {

class StepIo {
 public:
  virtual ~StepIo() = default;

  /// Renews the packed copies of params that changed.
  virtual void repack(ParamStore& params) = 0;
  /// Writes the rows of inputs in the batches from `first` on.
  virtual void write_inputs(const Memory& memory, std::size_t first) = 0;
  /// Sets the gradient of each loss to `scale`.
  virtual void seed_losses(const Memory& memory, float scale) = 0;

  /// Begins a sum of losses at `sum`.
  virtual void begin_losses(double sum) = 0;
  /// Adds the losses of the batches that have run.
  virtual void gather_losses(const Memory& memory) = 0;
  /// The sum of all losses gathered since they began, one after the other, in double precision.
  virtual double take_loss() = 0;
  /// Makes room for the values of `count` losses.
  virtual void reserve_losses(std::size_t /*count*/) {}

  /// Upper bound on what all of this stages for the request.
  virtual Staged staged(const Memory&, const StepRequest&) const { return {}; }
};

}  // namespace espalier::runtime
