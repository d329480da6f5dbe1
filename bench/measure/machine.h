// What this machine can do at most, measured on the spot with loops of our own: floating-point
// operations a second, and bytes read a second from each level of memory, by all threads at once.
// Made by `espalier bench`, which compares steps with it.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/thread_team.h"

namespace espalier::bench {

struct Bandwidth {
  double bytes_per_thread = 0;  ///< which each thread reads again and again
  double bytes_per_second = 0;  ///< all threads together
};

struct Machine {
  std::string vectors;  ///< widest that the host has: "avx512", "avx2", "sse", "scalar"
  int threads = 1;
  double flops_one_thread = 0;       ///< a second, the other threads idle; single precision
  double flops = 0;                  ///< a second, all threads at once
  std::vector<Bandwidth> bandwidth;  ///< by ascending working set
};

/// Multiplies and adds in registers, in as many independent accumulators as the host's units need;
/// an operation of each counts. Best of several tries; about a third of a second.
void measure_flops(ThreadTeam& team, Machine& machine);

/// Reads working sets from 16 KiB to 256 MiB a thread, less where all threads' would exceed 1 GiB.
/// Best of several tries each; about a second.
void measure_bandwidth(ThreadTeam& team, Machine& machine);

/// The bandwidth for a working set between the measured ones, interpolated over its logarithm; of
/// the nearest one beyond them.
double bandwidth_at(std::span<const Bandwidth> curve, double bytes_per_thread);

}  // namespace espalier::bench
