// Kernel → CUDA C++: a text that NVRTC compiles as it is. Made for runtime compilation and for
// people; the CUDA compiler and the persistent kernel consume it. Any grid is right: blocks walk
// tiles in strides of the grid, and no sum depends on the number of rows, blocks or tiles.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "codegen/kernel_ir.h"

namespace espalier::codegen {

/// How to launch one stage, or all that are joined to it: `extern "C" __global__ void symbol(const
/// EspalierLaunch*)`, where EspalierLaunch {void* const* buffers; long long row_begin, row_end;}
/// lies in device memory, with one pointer a buffer of the kernel, as StageFunction takes them.
struct CudaStage {
  std::string symbol;
  RowDomain rows = RowDomain::instances;
  int port = -1;
  int threads = 0;                ///< of a block; the same in all stages
  std::int64_t row_tile = 1;      ///< rows of a tile; a `once` stage has one row
  std::int64_t parts = 1;         ///< tiles side by side for the same rows
  std::int64_t shared_bytes = 0;  ///< dynamic shared memory of a block
  /// Contractions of more rows than this take larger tiles.
  std::int64_t large_from = INT64_MAX;
  std::int64_t large_row_tile = 1, large_parts = 1;
  int first = 0;                  ///< its number in kernel.stages
  std::vector<CudaStage> joined;  ///< itself and those joined to it; empty if it is alone

  /// Stages of the kernel, from `first` on.
  std::size_t count() const { return joined.empty() ? 1 : joined.size(); }
  /// The only one; null if there are several.
  const Stage* alone(const Kernel& kernel) const {
    return joined.empty() ? &kernel.stages[static_cast<std::size_t>(first)] : nullptr;
  }
  /// Blocks that a launch over so many rows can keep busy.
  std::int64_t tiles(std::int64_t row_count) const;
  bool operator==(const CudaStage&) const = default;
};

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
