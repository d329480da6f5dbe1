// The constants of device_costs.h, measured on a GPU by small kernels of our own between events,
// and kept on disk under the names of the GPU and of its driver. Takes some tenths of a second,
// once.
#pragma once

#include <filesystem>

#include "codegen/compiler.h"
#include "runtime/cuda/driver.h"
#include "runtime/cuda/walk_cost.h"

namespace espalier::runtime {

/// Those on disk, or measured now and put there; nothing else may be under way on the device.
DeviceCosts device_costs(const CudaDevice& device, codegen::Compiler& compiler,
                         const std::filesystem::path& cache_directory);

}  // namespace espalier::runtime
