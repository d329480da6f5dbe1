// The optimizer's state while a device has it: fetched from the optimizer before the first update,
// given back when somebody asks for it, or at the end. Owned by DeviceUpdate.
#pragma once

#include <memory>
#include <vector>

#include "runtime/step/buffer.h"
#include "runtime/step/optimizer.h"

namespace espalier::runtime {

class DeviceState {
 public:
  DeviceState(MemoryCounter& counter, DeviceMemory& memory) : counter_(counter), memory_(memory) {}
  /// If the optimizer is still there, it gets its state.
  ~DeviceState();

  /// Fetches the state of so many params, unless it is here; whether it was not.
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
