// Measures the constants of the cost model (walk_cost.h) on a GPU, with small kernels timed between
// events, and caches them on disk for this GPU and driver. Takes some tenths of a second, once.
// Called by WalkChoice, and by `espalier bench device` through peaks.h.
#pragma once

#include <filesystem>

#include "codegen/compiler.h"
#include "runtime/cuda/driver.h"
#include "runtime/cuda/walk_cost.h"

namespace espalier::runtime {

/// The cached constants, or measured ones. Nothing else may run on the device meanwhile.
WalkCosts measured_walk_costs(const CudaDevice& device, codegen::Compiler& compiler,
                              const std::filesystem::path& cache_directory);

}  // namespace espalier::runtime
