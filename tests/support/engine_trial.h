// One random model put on trial in engines: random examples, run every way in which no bit may
// differ, and against the oracle in double. Used by tests and by tests/fuzz/random_check.cpp.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "ir/program.h"
#include "tests/support/fault.h"

namespace espalier::test {

/// So many seeds in a row are to get the same program, of which each makes other examples. They
/// share their target, granularity and hoisting, compiled code and engines: making those takes most
/// of the time.
inline constexpr std::uint64_t engine_seeds_per_program = 16;

/// Runs a model of tests/support/random_programs.h. The seed chooses the examples and the params;
/// its group, seed / engine_seeds_per_program, the target, the granularity and whether cells are
/// hoisted. The reference runs unbatched, on one thread, without sharing. Held to its bits: values
/// and losses of every strategy, with one and two threads, with sharing, with values read in
/// between, in parts under a memory limit and of each example alone; gradients of two numbers of
/// threads. Held to the oracle: values, losses and all gradients. Engines are kept: all but the
/// first seed of a trial find them as other minibatches left them.
class EngineTrial {
 public:
  /// `program` outlives the trial. Compiled code is kept in `cache`.
  EngineTrial(const ir::Program& program, std::uint64_t group, const std::filesystem::path& cache);
  ~EngineTrial();

  Fault check(std::uint64_t seed);
  /// Run so far.
  std::uint64_t minibatches() const;

 private:
  class Engines;
  std::unique_ptr<Engines> engines_;
};

}  // namespace espalier::test
