// What a device returns to the host at the end of a step, in one copy: the square of the gradients'
// norm, then the losses. Written by kernels of KernelStepIo (losses) and KernelUpdate (norm).
#pragma once

#include <span>
#include <vector>

#include "runtime/step/buffer.h"

namespace espalier::runtime {

class Results {
 public:
  /// Both outlive this.
  Results(MemoryCounter& counter, DeviceMemory& memory)
      : memory_(memory), results_(counter, &memory) {}

  /// Makes room for `losses` losses.
  void reserve(std::size_t losses);
  /// Where kernels write the square of the norm, and `count` losses behind it. What was fetched
  /// before is stale.
  float* for_norm();
  float* for_losses(std::size_t count);

  /// The losses of the last `for_losses`, and the norm; both wait for what has been launched.
  std::span<const float> losses();
  double norm();
  void forget_losses() { losses_ = 0; }
  /// Waits for what has been launched and copies everything to the host.
  void fetch();

 private:
  DeviceMemory& memory_;
  Buffer<float> results_;
  std::vector<float> fetched_;
  bool fresh_ = true;  // fetched_ is what results_ holds
  std::size_t losses_ = 0;
};

}  // namespace espalier::runtime
