// Losses on a device: seeds of their gradients, and their way to the host, together with the norm
// of the gradients. Owned by DeviceUpdate.
#pragma once

#include <vector>

#include "runtime/step/binding.h"
#include "runtime/update/device_plan.h"

namespace espalier::runtime {

class DeviceLosses {
 public:
  DeviceLosses(MemoryCounter& counter, DeviceMemory* memory) : results_(counter, memory) {}

  // As in Executor.
  void seed(const Memory& memory, Placement& placement, float scale, DevicePlan& plan);
  void begin(double sum);
  void reserve(std::size_t count);
  void gather(const Memory& memory, Placement& placement, DevicePlan& plan);
  double take(DevicePlan& plan);
  /// The square of the norm, for the kernel that measures it; what was fetched is stale.
  float* norm_place();
  double norm(DevicePlan& plan);
  /// Waits for what has been gathered and measured.
  void fetch(DevicePlan& plan);
  /// What `seed`, if `seeds`, and `gather` will place.
  static Staged staged(Placement& placement, bool seeds);

 private:
  // What comes back to the host: the square of the norm, then losses.
  Buffer<float> results_;
  std::vector<float> fetched_;
  bool fresh_ = true;  // fetched_ is what results_ holds
  std::size_t losses_ = 0;
  double loss_ = 0;  // of minibatch parts before
  std::vector<std::int32_t> places_, rows_;
  Compiled seed_ = nullptr, gather_ = nullptr;
};

}  // namespace espalier::runtime
