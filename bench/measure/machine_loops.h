// The two loops that bench/measure/machine.h times, in the widest vectors of the host: products and
// sums in registers, and reading memory. Both return a number that depends on all they did.
#pragma once

#include <cstddef>
#include <cstdint>

namespace espalier::bench {

struct Loops {
  const char* name = "";
  double flops_per_round = 0;
  float (*multiply_add)(std::int64_t rounds) = nullptr;
  /// Reads `count` floats, a multiple of 1024, at a multiple of 64 bytes.
  float (*read)(const float* from, std::size_t count) = nullptr;
};

/// The widest that this machine runs.
Loops host_loops();

}  // namespace espalier::bench
