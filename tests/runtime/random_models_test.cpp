// Random models in engines: every strategy, one and two threads, sharing, hoisting, parts, values
// in between, both granularities, every target, to the bit; and against the oracle in double.
// tests/fuzz/random_check.cpp runs any number of them.
#include <gtest/gtest.h>

#include "base/disk_cache.h"
#include "codegen/compiler.h"
#include "ir/text/print.h"
#include "tests/support/engine_trial.h"
#include "tests/support/random_programs.h"

namespace espalier::test {
namespace {

class RandomModels : public testing::TestWithParam<int> {};

// All settings that a group of seeds chooses; op by op from 42 on.
INSTANTIATE_TEST_SUITE_P(Groups, RandomModels, testing::Values(0, 1, 2, 3, 4, 5, 42, 43, 44));

TEST_P(RandomModels, RunToTheSameBitsEveryWay) {
  const auto group = std::uint64_t(GetParam());
  const ir::Program program = random_model(group);
  EngineTrial trial(program, group, default_cache_directory());
  for (std::uint64_t i = 0; i < 3; ++i) {
    const std::uint64_t seed = group * engine_seeds_per_program + i;
    const std::uint64_t before = trial.minibatches();
    const Fault fault = trial.check(seed);
    EXPECT_FALSE(fault) << "seed " << seed << ": " << fault.kind << "\n"
                        << ir::print(program) << fault.what;
    EXPECT_GE(trial.minibatches() - before, 6u);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace espalier::test
