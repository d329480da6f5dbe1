// The peak rates of a GPU and its walk costs, measured now. Printed by `espalier bench device`, so
// that the rates of training steps can be compared with them.
#pragma once

#include <filesystem>
#include <optional>

#include "runtime/cuda/devices.h"
#include "runtime/cuda/walk_cost.h"

namespace espalier::runtime {

struct DevicePeaks {
  CudaGpu gpu;
  /// The costs that engines with this cache use; nothing if the GPU cannot run persistent kernels.
  std::optional<WalkCosts> costs;
  double copy_bytes_per_second = 0;  ///< read plus written, within device memory
  /// Flops per second of a large contraction by cuBLAS, by the precision of its factors; sums are
  /// in single precision. 0 without cuBLAS.
  double single_flops = 0, tf32_flops = 0, bf16_flops = 0;
};

/// Measures the first GPU, which takes a few seconds; nothing else may run on it meanwhile. Costs
/// are taken from the cache if it has them. UserError if there is no GPU.
DevicePeaks measure_device(const std::filesystem::path& cache_directory);

}  // namespace espalier::runtime
