// One random model put on trial in engines: random examples, run every way in which no bit may
// differ, and against the oracle in double. Used by tests and by tests/fuzz/random_check.cpp.
#pragma once

#include <cstdint>
#include <filesystem>

#include "ir/program.h"
#include "tests/support/fault.h"

namespace espalier::test {

/// Compiling takes most of the time: so many seeds in a row are to get the same program, of which
/// each makes other examples. They share their target, granularity and hoisting too.
inline constexpr std::uint64_t engine_seeds_per_program = 8;

/// Runs a model of tests/support/random_programs.h. The seed chooses the examples, the params, the
/// target, the granularity and whether cells are hoisted. The reference runs unbatched, on one
/// thread, without sharing. Held to its bits: values and losses of every strategy, with one and two
/// threads, with sharing, with values read in between, in parts under a memory limit, of each
/// example alone and in engines that ran something else before; gradients of two numbers of
/// threads. Held to the oracle: values, losses and all gradients. Compiled code is kept in `cache`.
/// `runs` counts the minibatches.
Fault try_engines(const ir::Program& program, std::uint64_t seed,
                  const std::filesystem::path& cache, std::uint64_t& runs);

}  // namespace espalier::test
