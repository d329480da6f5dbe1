// What a GPU can do at most, and what it costs to launch on it, measured on the spot. Made by
// `espalier bench device`; what steps reach is compared with it.
#pragma once

#include <filesystem>
#include <optional>

#include "runtime/cuda/devices.h"
#include "runtime/cuda/walk_cost.h"

namespace espalier::runtime {

struct DevicePeaks {
  CudaGpu gpu;
  /// What engines with this cache go by; nothing on a GPU on which nothing can walk.
  std::optional<DeviceCosts> costs;
  double copy_bytes_per_second = 0;  ///< read and written, within the device's memory
  /// Operations a second of a large product by cuBLAS, by the precision of its factors; sums are in
  /// single precision. 0 without cuBLAS.
  double single_flops = 0, tf32_flops = 0, bf16_flops = 0;
};

/// Of the first GPU. Nothing else may be under way on it. A few seconds; the costs only where the
/// cache has none. UserError if there is no GPU.
DevicePeaks measure_device(const std::filesystem::path& cache_directory);

}  // namespace espalier::runtime
