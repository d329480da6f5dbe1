// Preparing launches for one kernel that walks them all: before which of them all blocks must meet,
// derived from the memory that each reads and writes, and whose weights blocks keep in shared
// memory. Pure functions of what was noted down; used by the persistent path of a GPU.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "codegen/cuda/walker.h"
#include "codegen/kernel/compiled_kernel.h"
#include "runtime/cuda/library.h"

namespace espalier::runtime {

/// A launch of a stage, or of joined ones, with the host's copy of its pointers into the device's
/// memory.
struct NotedLaunch {
  const codegen::CompiledKernel* kernel = nullptr;
  int stage = 0;   ///< of its cuda_stages
  int batch = -1;  ///< of the schedule; -1 if it belongs to none
  void* const* pointers = nullptr;
  std::int64_t row_begin = 0, row_end = 0;
  std::int64_t cell_begin = 0, cell_end = 0;  ///< of all stages of its kernel
  /// A library does it, which cannot be walked.
  const Library::Call* product = nullptr;

  const codegen::CudaStage& cuda() const { return kernel->cuda_stages[std::size_t(stage)]; }
  std::span<const codegen::Stage> stages() const {
    return std::span(kernel->kernel.stages).subspan(std::size_t(cuda().first), cuda().count());
  }
  /// The only one; null if there are several.
  const codegen::Stage* alone() const { return cuda().alone(kernel->kernel); }
};

/// The device's memory: address → bytes of each allocation, staged arrays included.
using Allocations = std::map<std::uintptr_t, std::size_t>;

/// Which buffers launches read and write, stage by stage, found once each. Index arrays are left
/// out: no kernel writes them.
class StageUses {
 public:
  struct Use {
    codegen::BufferId buffer = -1;
    bool read = false, written = false;
    bool own_rows = true;  ///< only rows of the launch
    /// If known, only elements from one to another: those of a stage without rows.
    bool known = true;
    codegen::ExprId address = -1;
    std::int64_t first = INT64_MAX, last = INT64_MIN;
    /// Not 0: of these, in each `period` of elements, only those from one column to another.
    std::int64_t period = 0, first_column = 0, last_column = 0;
  };
  const std::vector<Use>& of(const NotedLaunch& launch);

 private:
  static void add(std::vector<Use>& uses, const codegen::Kernel& kernel,
                  const codegen::Stage& stage);

  std::unordered_map<const codegen::CompiledKernel*, std::vector<std::vector<Use>>> uses_;
};

/// Whether a walk gives each block a share of the launch's rows (WalkRecord::share): stages without
/// products over as many elements as a block has threads, or fewer.
bool shares_rows(const NotedLaunch& launch);

/// Tells launch by launch, in order, whether it conflicts with any since the last meeting: one of
/// the two writes what the other reads or writes.
class Conflicts {
 public:
  /// Both outlive this.
  Conflicts(const Allocations& allocations, StageUses& uses)
      : allocations_(allocations), uses_(uses) {}

  /// Whether all blocks must meet before this launch.
  bool barrier_before(const NotedLaunch& launch);
  /// Of the launch just asked about: whether it may write any of the bytes at `address`.
  bool writes(const void* address, std::int64_t bytes) const;

 private:
  struct Range {
    std::uintptr_t begin = 0, end = 0;
    bool written = false;
    /// Where it begins to count columns, if it has only some: see StageUses::Use.
    std::uintptr_t origin = 0;
    std::int64_t period = 0, first_column = 0, last_column = 0;
    /// Rows of a launch that blocks share: conflicts with the same rows stay within a block.
    std::optional<std::pair<std::int64_t, std::int64_t>> rows = {};
    bool conflicts(const Range& other) const;
  };
  std::optional<Range> range(const NotedLaunch& launch, const StageUses::Use& use);
  std::optional<Range> allocation(std::uintptr_t address) const;

  const Allocations& allocations_;
  StageUses& uses_;
  std::vector<Range> since_, now_;
  std::optional<Range> scratch_;  // the allocation that scratch of cells was last found in
  bool unknown_now_ = false, unknown_since_ = false;
};

/// Contractions of more rows take tiles, which share the weights among fewer readers.
inline constexpr std::int64_t most_held_rows = 64;
/// The contraction whose weights may be held for a launch; or null.
const codegen::Stage* may_hold(const NotedLaunch& launch);

/// Weights that the blocks of a walk hold.
struct HeldWeights {
  const void* weights = nullptr;  ///< packed, on the device
  codegen::HeldTile tile;
  std::int64_t width = 0;   ///< elements of a gate that a block has
  std::int64_t offset = 0;  ///< from the first held byte of a block
  std::int32_t first_block = 0;
  bool filled = false;
};

/// Which weights a walk on `grid` blocks holds in `bytes` of each: those that save most, of
/// contractions with few rows that are launched more than once, and that `work_bytes` suffice for.
std::vector<HeldWeights> choose_held(std::span<const NotedLaunch> launches, std::int64_t grid,
                                     std::int64_t bytes, std::int64_t work_bytes);
/// Those of a launch; null if its weights are not held, or its rows are many.
HeldWeights* held_of(const NotedLaunch& launch, std::span<HeldWeights> held);

/// The records of a walk on `grid` blocks, but for `buffers` and the stages' numbers. What is held
/// lies from `held_begin` of shared memory on; all of `held` counts as filled in the end.
std::vector<codegen::WalkRecord> plan_walk(std::span<const NotedLaunch> launches,
                                           Conflicts conflicts, std::int64_t grid,
                                           std::span<HeldWeights> held, std::int64_t held_begin);

}  // namespace espalier::runtime
