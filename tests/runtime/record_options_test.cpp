// Engines that share equal calls and hoist what depends on no state: the same numbers as without,
// to the bit where only sharing differs, and the double oracle's within rounding.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "ir/record/recorder.h"
#include "runtime/engine.h"
#include "scheduler/strategy.h"
#include "tests/runtime/engine_oracle.h"
#include "tests/runtime/engine_runs.h"
#include "tests/support/random_calls.h"

namespace espalier::test {
namespace {

using Values = std::vector<std::vector<float>>;

EngineOptions with(bool share, bool hoist, const std::string& strategy = "phase", int threads = 1) {
  EngineOptions result = options({"", strategy, "", threads});
  result.share = share;
  result.hoist = hoist;
  return result;
}

/// The outputs of all calls of the minibatch, field by field.
Values values(Engine& engine, const Instances& minibatch) {
  Values result;
  const ir::Recorder& recorder = minibatch.recorder();
  for (ir::CallId call = 0; call < minibatch.size(); ++call) {
    const auto& fields = recorder.source().states[std::size_t(recorder.state(call))].fields;
    for (int field = 0; field < int(fields.size()); ++field) {
      const auto read = engine.value(minibatch.recorder().handle(call), field);
      result.emplace_back(read.begin(), read.end());
    }
  }
  return result;
}

struct Result {
  Values values;
  double loss = 0;
  Values gradients;
  StepStatistics statistics;
};

/// Forward and backward over a minibatch in which some trees come twice.
Result run(Engine& engine, models::TreeModel& model, const std::vector<data::Tree>& trees) {
  randomize(engine, 4);
  const Instances minibatch = engine.instances();
  for (std::size_t i = 0; i < trees.size() + 3; ++i) {
    minibatch.begin_example(i);
    model.record_loss(minibatch, trees[i % trees.size()]);
  }
  const StepResult step = engine.gradients(minibatch);
  Result result{values(engine, minibatch), step.loss, {}, step.statistics};
  for (const ir::Param& param : engine.program().params)
    result.gradients.push_back(engine.gradient(param.name));
  return result;
}

void expect_near(const Values& actual, const Values& expected, double epsilons) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t k = 0; k < expected.size(); ++k) {
    ASSERT_EQ(actual[k].size(), expected[k].size());
    double largest = 1e-3;
    for (float x : expected[k]) largest = std::max(largest, double(std::abs(x)));
    for (std::size_t i = 0; i < expected[k].size(); ++i)
      EXPECT_NEAR(actual[k][i], expected[k][i], epsilons * 0x1p-24 * largest) << k << ", " << i;
  }
}

class EveryModelRecorded : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Zoo, EveryModelRecorded,
                         ::testing::Values("tree_lstm", "child_sum_tree_lstm", "lstm"),
                         [](const auto& info) { return info.param; });

TEST_P(EveryModelRecorded, SharingChangesNoBitForward) {
  const auto trees = random_forest(GetParam(), 9, 12);
  for (const bool hoist : {false, true}) {
    for (const double dropout : {0.0, 0.3}) {
      const auto model = make_model(GetParam(), 20, 40, dropout);
      Engine plain(model->program(), with(false, hoist));
      const Result expected = run(plain, *model, trees);
      for (const scheduler::StrategyInfo& strategy : scheduler::strategies()) {
        SCOPED_TRACE(std::string(strategy.name) + (hoist ? ", hoisted" : ""));
        Engine engine(model->program(), with(true, hoist, std::string(strategy.name), 2));
        const Result shared = run(engine, *model, trees);
        EXPECT_EQ(shared.values, expected.values);
        EXPECT_EQ(shared.loss, expected.loss);
        EXPECT_EQ(shared.statistics.calls, expected.statistics.calls);
        EXPECT_LT(shared.statistics.instances, expected.statistics.instances);
        expect_near(shared.gradients, expected.gradients, 256);
      }
    }
  }
}

TEST_P(EveryModelRecorded, HoistingChangesRoundingOnly) {
  const auto trees = random_forest(GetParam(), 8, 12);
  const auto model = make_model(GetParam(), 20, 40, 0.3);
  Engine whole(model->program(), with(false, false)), split(model->program(), with(false, true));
  const Result a = run(whole, *model, trees), b = run(split, *model, trees);
  expect_near(b.values, a.values, 64);
  expect_near(b.gradients, a.gradients, 512);
  EXPECT_EQ(a.statistics.instances, a.statistics.calls);
  if (GetParam() == "tree_lstm") {
    // Its cells read words or states, none both.
    EXPECT_EQ(b.values, a.values);
    EXPECT_EQ(b.statistics.instances, a.statistics.instances);
  } else {
    EXPECT_GT(b.statistics.instances, a.statistics.instances);
    EXPECT_EQ(b.statistics.batches, a.statistics.batches + 1) << "one for all that was hoisted";
  }
}

TEST_P(EveryModelRecorded, HoistedBitsDoNotDependOnStrategyThreadsOrBatch) {
  const auto trees = random_forest(GetParam(), 7, 9);
  const auto model = make_model(GetParam(), 20, 40);
  Engine reference(model->program(), with(false, true, "unbatched"));
  const Result expected = run(reference, *model, trees);
  randomize(reference, 4);
  Values alone;
  for (std::size_t i = 0; i < trees.size() + 3; ++i) {
    const Instances minibatch = reference.instances();
    model->record_loss(minibatch, trees[i % trees.size()]);
    for (auto& value : values(reference, minibatch)) alone.push_back(std::move(value));
  }
  EXPECT_EQ(expected.values, alone);
  for (const scheduler::StrategyInfo& strategy : scheduler::strategies()) {
    for (const int threads : {1, 2, 3}) {
      SCOPED_TRACE(std::string(strategy.name) + " " + std::to_string(threads));
      Engine engine(model->program(), with(false, true, std::string(strategy.name), threads));
      EXPECT_EQ(run(engine, *model, trees).values, expected.values);
    }
  }
}

TEST(RecordOptions, RandomProgramsEqualTheOracle) {
  std::size_t fewer = 0, more = 0;
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const ir::Program program = random_program(seed, {.width = 5, .withheld_gradients = false});
    constexpr int examples = 10;
    const auto record_all = [](const Instances& minibatch) {
      for (int i = 0; i < examples; ++i)
        record_random(minibatch, std::uint64_t(i % 6), std::uint64_t(i));
    };
    Values expected[2];  // without and with hoisting
    for (const bool hoist : {false, true}) {
      for (const bool share : {false, true}) {
        for (const char* strategy : {"unbatched", "phase"}) {
          SCOPED_TRACE(std::string(strategy) + (share ? ", share" : "") + (hoist ? ", hoist" : ""));
          Engine engine(program, with(share, hoist, strategy, 2));
          randomize(engine, seed);
          const Instances minibatch = engine.instances();
          record_all(minibatch);
          const StepResult step = engine.gradients(minibatch);
          const Values all = values(engine, minibatch);
          if (expected[hoist].empty()) expected[hoist] = all;
          EXPECT_EQ(all, expected[hoist]);
          expect_within_roundings(engine, step.loss, record_all, examples);
          if (share && !hoist) fewer += step.statistics.calls - step.statistics.instances;
          if (hoist && !share) more += step.statistics.instances - step.statistics.calls;
        }
      }
    }
  }
  EXPECT_GT(fewer, 200u);
  EXPECT_GT(more, 0u);
}

TEST(RecordOptions, ValuesMayBeAskedForInTheMiddle) {
  const auto model = make_model("lstm", 6, 8);
  const auto trees = random_forest("lstm", 5, 4);
  Values forward[2], gradients[2];
  for (const bool share : {false, true}) {
    Engine engine(model->program(), with(share, true));
    randomize(engine, 2);
    const Instances minibatch = engine.instances();
    for (int round = 0; round < 2; ++round)
      for (const data::Tree& tree : trees) {
        model->record_loss(minibatch, tree);
        engine.value(minibatch.recorder().handle(ir::CallId(minibatch.size() - 1)));
      }
    engine.gradients(minibatch);
    forward[share] = values(engine, minibatch);
    for (const ir::Param& param : engine.program().params)
      gradients[share].push_back(engine.gradient(param.name));
  }
  EXPECT_EQ(forward[1], forward[0]);
  expect_near(gradients[1], gradients[0], 256);
}

TEST(RecordOptions, EvaluationSharesWhatTrainingDraws) {
  const auto model = make_model("tree_lstm", 6, 8, 0.5);
  const auto trees = random_forest("tree_lstm", 5, 1);
  Engine engine(model->program(), with(true, false));
  const auto instances = [&](Mode mode) {
    const Instances minibatch = engine.instances(mode);
    for (int i = 0; i < 2; ++i) model->record_loss(minibatch, trees[0]);
    const StepStatistics statistics = engine.forward(minibatch).statistics;
    EXPECT_EQ(statistics.calls % 2, 0u);
    return std::pair(statistics.instances, statistics.calls / 2);
  };
  const auto [training, of] = instances(Mode::training);
  EXPECT_GT(training, of) << "each loss draws its own mask";
  const auto [inference, same] = instances(Mode::inference);
  EXPECT_LE(inference, same) << "the second tree is the first";
}

TEST(RecordOptions, AFailureNamesTheFirstOfTheEqualCalls) {
  const auto model = make_model("tree_lstm", 6, 8);
  EngineOptions options = with(true, false);
  options.debug.check_finite = true;
  Engine engine(model->program(), options);
  engine.param("b_leaf")[0] = NAN;
  data::TreeBuilder builder;
  builder.leaf(0, 1);
  const data::Tree tree = builder.finish();
  const Instances minibatch = engine.instances();
  for (std::uint64_t example : {7, 8}) {
    minibatch.begin_example(example);
    model->record_loss(minibatch, tree);
  }
  try {
    engine.forward(minibatch);
    FAIL() << "nothing was found";
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("in example 7"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace espalier::test
