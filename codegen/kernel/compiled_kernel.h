// A kernel compiled for one target. For a CPU: one function per stage, called with pointers to the
// kernel's buffers and a range of work. The bits do not depend on how the ranges are split, on
// their order or on the threads. For a GPU: a cubin with one kernel per stage. Made by Compiler,
// run by the runtime's executor.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "codegen/kernel/kernel.h"

namespace espalier::codegen {

/// Runs rows [row_begin, row_end) × parts [part_begin, part_end) of one stage. `buffers[i]` points
/// at the first element of kernel.buffers[i]: aligned to its element, packed weights to 64 bytes.
/// Rows are cell rows or child rows, as Stage::rows says, and ignored by a `once` stage.
using StageFunction = void (*)(void* const* buffers, std::int64_t row_begin, std::int64_t row_end,
                               std::int64_t part_begin, std::int64_t part_end);

struct CompiledStage {
  StageFunction run = nullptr;
  RowDomain rows = RowDomain::instances;
  int port = -1;
  /// Contraction: panels of its weights. Outer product: tiles of its first axis. Other `once`
  /// stages: chunks of the first axis. Else 1.
  std::int64_t parts = 1;
  /// Rows that run together. Split ranges at multiples of it.
  int row_tile = 1;
};

/// How to launch one stage, or a stage and those joined to it: `extern "C" __global__ void
/// symbol(const EspalierLaunch*)`, where EspalierLaunch {void* const* buffers; long long row_begin,
/// row_end;} is in device memory, with one pointer per buffer as for StageFunction.
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

struct CompiledKernel {
  Kernel kernel;
  std::vector<CompiledStage> stages;   ///< as kernel.stages; of a CPU target
  std::vector<CudaStage> cuda_stages;  ///< as kernel.stages, joined ones together; of a GPU target
  std::string cubin;                   ///< of a GPU target

  /// Launches that run all stages once, and the (first) stage of each.
  std::size_t launches() const { return stages.empty() ? cuda_stages.size() : stages.size(); }
  const Stage& launched(std::size_t i) const {
    return kernel.stages[stages.empty() ? static_cast<std::size_t>(cuda_stages[i].first) : i];
  }
};

}  // namespace espalier::codegen
