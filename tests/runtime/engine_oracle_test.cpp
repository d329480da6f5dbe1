// The engine against the oracle in double, and against itself: bits that must not depend on the
// strategy, the threads, or the rest of the minibatch.
#include "tests/runtime/engine_oracle.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "codegen/cpu/host_targets.h"
#include "codegen/kernel/target.h"
#include "ir/record/recorder.h"
#include "runtime/engine.h"
#include "scheduler/strategy.h"
#include "tests/runtime/engine_runs.h"
#include "tests/runtime/forest.h"
#include "tests/support/random_calls.h"

namespace espalier::test {
namespace {

using models::TreeModel;
using test::expect_equals_oracle;

void expect_equals_oracle(Engine& engine, TreeModel& model, const std::vector<data::Tree>& trees) {
  const double loss = outcome(engine, model, trees, all(trees)).loss;
  const auto record = [&](const Instances& minibatch) {
    for (std::size_t i = 0; i < trees.size(); ++i) {
      minibatch.begin_example(i);
      model.record_loss(minibatch, trees[i]);
    }
  };
  expect_equals_oracle(engine, loss, record, double(trees.size()));
}

class EveryModel : public ::testing::TestWithParam<std::string> {};

TEST_P(EveryModel, EqualsTheOracleOnEveryTarget) {
  for (const codegen::Target& target : codegen::host_targets()) {
    SCOPED_TRACE(target.name);
    // Sizes around and off the vector widths.
    for (const auto& [embed, hidden] : {std::pair{3, 5}, {20, 24}, {33, 17}}) {
      const auto model = make_model(GetParam(), embed, hidden);
      Engine engine(model->program(), options({GetParam(), "agenda", target.name, 1}));
      randomize(engine, 3);
      expect_equals_oracle(engine, *model, random_forest(GetParam(), 5, 7));
    }
  }
}

TEST_P(EveryModel, EqualsTheOracleOpByOp) {
  const auto model = make_model(GetParam(), 6, 7);
  Engine engine(model->program(), options({GetParam(), "agenda", "", 1, ir::Granularity::op}));
  randomize(engine, 3);
  expect_equals_oracle(engine, *model, random_forest(GetParam(), 5, 5));
}

TEST_P(EveryModel, ForwardBitsDoNotDependOnStrategyThreadsOrBatch) {
  const auto trees = random_forest(GetParam(), 9, 12);
  const auto model = make_model(GetParam(), 20, 40, 0.3);
  Engine reference(model->program(), options({GetParam(), "unbatched", "", 1}));
  randomize(reference, 4);
  // The reference runs every example alone.
  std::vector<std::vector<float>> expected;
  for (int i : all(trees)) expected.push_back(outcome(reference, *model, trees, {i}).losses[0]);

  for (const scheduler::StrategyInfo& strategy : scheduler::strategies()) {
    std::vector<std::vector<float>> gradients;
    for (int threads : {1, 2, 3}) {
      SCOPED_TRACE(std::string(strategy.name) + " " + std::to_string(threads));
      Engine engine(model->program(),
                    options({GetParam(), std::string(strategy.name), "", threads}));
      randomize(engine, 4);
      const Outcome whole = outcome(engine, *model, trees, all(trees));
      EXPECT_EQ(whole.losses, expected);
      // Parameter gradients: the same bits for any number of threads.
      if (threads == 1) gradients = whole.gradients;
      EXPECT_EQ(whole.gradients, gradients);
      const std::vector<int> some{7, 2, 11};
      const Outcome part = outcome(engine, *model, trees, some);
      for (std::size_t i = 0; i < some.size(); ++i)
        EXPECT_EQ(part.losses[i], expected[std::size_t(some[i])]);
    }
  }
}

TEST_P(EveryModel, ForwardBitsHoldOnEveryTargetAndOpByOp) {
  const auto trees = random_forest(GetParam(), 9, 8);
  const auto model = make_model(GetParam(), 10, 21, 0.3);
  for (const codegen::Target& target : codegen::host_targets()) {
    for (const auto granularity : {ir::Granularity::cell, ir::Granularity::op}) {
      std::vector<double> losses;
      for (const scheduler::StrategyInfo& strategy : scheduler::strategies()) {
        Engine engine(model->program(), options({GetParam(), std::string(strategy.name),
                                                 target.name, 2, granularity}));
        randomize(engine, 4);
        losses.push_back(outcome(engine, *model, trees, all(trees)).loss);
        // The losses are summed in the order in which they were marked.
        EXPECT_EQ(losses.back(), losses.front()) << strategy.name << " on " << target.name;
      }
    }
  }
}

TEST_P(EveryModel, StepsRepeatToTheBit) {
  const auto trees = random_forest(GetParam(), 9, 6);
  const auto model = make_model(GetParam(), 9, 12, 0.5);
  Outcome runs[2];
  for (Outcome& result : runs) {
    Engine engine(model->program(), options({GetParam(), "phase", "", 2}));
    result = outcome(engine, *model, trees, all(trees));
  }
  EXPECT_EQ(runs[0].losses, runs[1].losses);
  EXPECT_EQ(runs[0].gradients, runs[1].gradients);
  EXPECT_EQ(runs[0].norm, runs[1].norm);
}

INSTANTIATE_TEST_SUITE_P(Zoo, EveryModel, ::testing::ValuesIn(model_names()),
                         [](const auto& info) { return info.param; });

TEST(RandomPrograms, EqualTheOracleWithTheSameBitsEverywhere) {
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const ir::Program program = random_program(seed, {.width = 5, .withheld_gradients = false});
    constexpr std::uint64_t examples = 9;
    const auto record_all = [](const Instances& minibatch) {
      for (std::uint64_t i = 0; i < examples; ++i) record_random(minibatch, i);
    };
    // Every example alone, unbatched.
    std::vector<float> expected;
    Engine reference(program, options({"", "unbatched", "", 1}));
    randomize(reference, seed);
    for (std::uint64_t i = 0; i < examples; ++i) {
      const Instances minibatch = reference.instances();
      record_random(minibatch, i);
      reference.forward(minibatch);
      expected.push_back(loss_values(reference, minibatch.recorder())[0]);
    }
    for (const scheduler::StrategyInfo& strategy : scheduler::strategies()) {
      for (const int threads : {1, 2}) {
        SCOPED_TRACE(std::string(strategy.name) + " " + std::to_string(threads));
        Engine engine(program, options({"", std::string(strategy.name), "", threads}));
        randomize(engine, seed);
        const Instances minibatch = engine.instances();
        record_all(minibatch);
        const double loss = engine.gradients(minibatch).loss;
        EXPECT_EQ(loss_values(engine, minibatch.recorder()), expected);
        expect_within_roundings(engine, loss, record_all, double(examples));
      }
    }
    Engine by_op(program, options({"", "agenda", "", 2, ir::Granularity::op}));
    randomize(by_op, seed);
    const Instances minibatch = by_op.instances();
    record_all(minibatch);
    const double loss = by_op.gradients(minibatch).loss;
    expect_within_roundings(by_op, loss, record_all, double(examples));
  }
}

}  // namespace
}  // namespace espalier::test
