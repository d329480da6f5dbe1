// A launch that has been recorded but not sent to the GPU yet. Made by the launcher from the
// launches of a plan; read by everything that decides how launches run. Its pointers are the host's
// copy of addresses on the device, which stay valid until the launcher's next begin().
#pragma once

#include <cstdint>
#include <map>
#include <span>

#include "codegen/kernel/compiled_kernel.h"
#include "runtime/cuda/contraction_library.h"

namespace espalier::runtime {

/// One stage of a kernel, or several joined stages, over a range of rows.
struct PendingLaunch {
  const codegen::CompiledKernel* kernel = nullptr;
  int stage = 0;   ///< index into the kernel's cuda_stages
  int batch = -1;  ///< index of the batch in the schedule; -1 if it belongs to none
  void* const* pointers = nullptr;  ///< one for each buffer of the kernel
  std::int64_t row_begin = 0, row_end = 0;
  std::int64_t cell_begin = 0, cell_end = 0;  ///< rows of the whole batch, over all stages
  /// Set if the library computes it; such a launch cannot be part of a walk.
  const ContractionLibrary::Call* library_call = nullptr;

  const codegen::CudaStage& cuda() const { return kernel->cuda_stages[std::size_t(stage)]; }
  std::span<const codegen::Stage> stages() const {
    return std::span(kernel->kernel.stages).subspan(std::size_t(cuda().first), cuda().count());
  }
  /// The stage, if there is only one; null for joined stages.
  const codegen::Stage* alone() const { return cuda().alone(kernel->kernel); }
  std::int64_t tiles() const { return cuda().tiles(row_end - row_begin); }
};

/// The device's memory: address → bytes of each allocation, staged arrays included.
using Allocations = std::map<std::uintptr_t, std::size_t>;

}  // namespace espalier::runtime
