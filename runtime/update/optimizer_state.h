// The optimizer's state while it lies on a device: copied from the optimizer before the first
// update, and copied back when the optimizer is asked for it or the engine ends. Owned by
// KernelUpdate.
#pragma once

#include <memory>
#include <vector>

#include "runtime/step/buffer.h"
#include "runtime/step/optimizer.h"
#include "runtime/step/update_expression.h"

namespace espalier::runtime {

class OptimizerState {
 public:
  OptimizerState(MemoryCounter& counter, DeviceMemory& memory)
      : counter_(counter), memory_(memory) {}
  /// If the optimizer is still there, it gets its state.
  ~OptimizerState();

  /// Copies the state of all `params` params here unless it is here already; returns whether it
  /// did.
  bool attach(UpdateExpression& update, std::size_t params);
  /// What is kept for a param.
  const std::vector<Buffer<float>>& of(ir::ParamId param) const {
    return kept_[std::size_t(param)];
  }

 private:
  struct Home;
  void bring_back();

  MemoryCounter& counter_;
  DeviceMemory& memory_;
  std::vector<std::vector<Buffer<float>>> kept_;
  std::shared_ptr<Home> home_;
};

}  // namespace espalier::runtime
