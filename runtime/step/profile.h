// What each launch of a step was and how long it took. Made by Plan::run_profiled for an engine
// that was asked to; read by measurements.
#pragma once

#include <cstdint>
#include <string_view>

namespace espalier {

struct LaunchProfile {
  std::string_view kernel;  ///< `node.forward`; valid as long as the engine
  int stage = 0;            ///< of the kernel
  std::int64_t rows = 0;    ///< cell or child rows; 1 for a stage that runs once
  std::int64_t copied = 0;  ///< bytes moved without computing (codegen/kernel/copies.h)
  double seconds = 0;       ///< until all threads were done
};

}  // namespace espalier
