// Which launches of a walk need a barrier before them, derived from the memory that each launch
// reads and writes. Used when a walk is planned and when its cost is estimated. A barrier too many
// only costs time; a barrier too few would be a race, so unknown addresses conflict with
// everything.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/cuda/pending_launch.h"

namespace espalier::runtime {

/// Which buffers the stages of kernels read and write, analyzed once for each stage. Index arrays
/// are left out: no kernel writes them.
class StageUses {
 public:
  struct Use {
    codegen::BufferId buffer = -1;
    bool read = false, written = false;
    bool own_rows = true;  ///< each row of the launch accesses only its own row of the buffer
    /// Whether all accesses lie in elements `first` to `last`. Only for stages that run once.
    bool known = true;
    codegen::ExprId address = -1;
    std::int64_t first = INT64_MAX, last = INT64_MIN;
    /// If not 0: the buffer is a matrix with rows of `period` elements, and only columns
    /// `first_column` to `last_column` are accessed.
    std::int64_t period = 0, first_column = 0, last_column = 0;
  };
  const std::vector<Use>& of(const PendingLaunch& launch);

 private:
  std::unordered_map<const codegen::CompiledKernel*, std::vector<std::vector<Use>>> uses_;
};

/// Whether a walk splits the launch's rows evenly among blocks (WalkRecord::share), so that equal
/// rows stay in the same block from launch to launch. True for element-wise stages.
bool shares_rows(const PendingLaunch& launch);

/// Goes through launches in order and finds the barriers. Two launches conflict if one of them
/// writes what the other reads or writes.
class Conflicts {
 public:
  /// Both must outlive this.
  Conflicts(const Allocations& allocations, StageUses& uses)
      : allocations_(allocations), uses_(uses) {}

  /// Whether the next launch conflicts with any launch since the last barrier, and so needs a
  /// barrier before it.
  bool barrier_before(const PendingLaunch& launch);
  /// Whether the launch last passed to barrier_before may write any of the bytes at `address`.
  bool writes(const void* address, std::int64_t bytes) const;

 private:
  struct Range {
    std::uintptr_t begin = 0, end = 0;
    bool written = false;
    /// Columns of a matrix that begins at `origin`, as in StageUses::Use.
    std::uintptr_t origin = 0;
    std::int64_t period = 0, first_column = 0, last_column = 0;
    /// Rows that blocks share: conflicts between equal rows stay within a block.
    std::optional<std::pair<std::int64_t, std::int64_t>> rows = {};
    bool conflicts(const Range& other) const;
  };
  std::optional<Range> range(const PendingLaunch& launch, const StageUses::Use& use);
  std::optional<Range> allocation(std::uintptr_t address) const;

  const Allocations& allocations_;
  StageUses& uses_;
  std::vector<Range> since_, now_;  // of the launches since the last barrier; of the last launch
  bool unknown_since_ = false, unknown_now_ = false;  // whether some of their ranges are unknown
  std::optional<Range> scratch_;  // the allocation where scratch rows of cells were last found
};

}  // namespace espalier::runtime
