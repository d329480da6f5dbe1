// A kernel compiled for one target. For a CPU: one function per stage, to be called with pointers
// to the kernel's buffers and a range of work; any split of the ranges, in any order and on any
// threads, gives the same bits. For a GPU: a cubin with one kernel per stage. Made by Compiler, run
// by the runtime's executor.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "codegen/cuda_emit.h"
#include "codegen/kernel_ir.h"

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
  /// Rows that run together; splits at multiples of it waste nothing.
  int row_tile = 1;
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
