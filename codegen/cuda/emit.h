// Kernel → CUDA C++: a text that NVRTC compiles as it is. Made for runtime compilation and for
// people; the CUDA compiler and the persistent kernel consume it. Any grid is right: blocks walk
// tiles in strides of the grid, and no sum depends on the number of rows, blocks or tiles.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "codegen/kernel/compiled_kernel.h"

namespace espalier::codegen {

struct CudaText {
  std::string source;
  std::vector<CudaStage> stages;  ///< as kernel.stages, joined ones together
};

/// The kernel as one self-contained text.
CudaText print_cuda(const Kernel& kernel);

/// What stands before the stages of a text, once.
std::string_view cuda_prelude();
/// The stages alone, whose names begin with `name`: texts of several kernels can follow one
/// prelude.
CudaText print_cuda_stages(const Kernel& kernel, std::string_view name);

}  // namespace espalier::codegen
