// How much a step computes, and the least time that it could take on a machine: its roofline. Made
// from a recorded and scheduled minibatch; no kernel takes part.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "bench/measure/flops.h"
#include "bench/measure/machine.h"
#include "scheduler/schedule.h"

namespace espalier::bench {

/// What a cell runs as: in each batch forward, in each batch backward, once a step for the weights.
enum class Part : std::uint8_t { forward, backward, weights };
inline constexpr std::array<std::string_view, 3> part_names = {"forward", "backward", "weights"};

struct PartWork {
  double flops = 0;
  double floor_seconds = 0;
};

struct CellWork {
  std::size_t batches = 0, instances = 0;
  std::array<PartWork, 3> parts;  ///< by Part
};

struct StepWork {
  std::size_t instances = 0, batches = 0;
  Flops flops;
  std::vector<CellWork> cells;  ///< [cells]

  double floor_seconds(bool training) const;
};

/// The floor of a batch is max(flops ÷ peak, bytes of its weights ÷ bandwidth), all threads
/// together, where the bandwidth is that of the level which holds a thread's share of all weights
/// of the minibatch's cells. Weight gradients: the same per cell, with the bytes that are written.
StepWork step_work(const FlopCounter& counter, const ir::InstanceGraph& graph,
                   const scheduler::Schedule& schedule, std::size_t cells, const Machine& machine);

}  // namespace espalier::bench
