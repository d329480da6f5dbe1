// A sequence of launches as records that a persistent kernel walks through: barriers, blocks and
// held weights are decided here. A pure function, called by PersistentKernel::prepare.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "codegen/cuda/walker.h"
#include "runtime/cuda/held_weights.h"
#include "runtime/cuda/walk_conflicts.h"

namespace espalier::runtime {

/// The records of a walk on `grid` blocks. The caller fills in `buffers` and `stage`. Held weights
/// begin at byte `held_begin` of each block's shared memory.
std::vector<codegen::WalkRecord> plan_walk(std::span<const PendingLaunch> launches,
                                           Conflicts conflicts, std::int64_t grid,
                                           std::span<const HeldWeights> held,
                                           std::int64_t held_begin);

}  // namespace espalier::runtime
