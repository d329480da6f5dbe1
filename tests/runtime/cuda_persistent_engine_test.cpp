// Engines whose launches are walked by a persistent kernel, against engines that launch every
// kernel by itself: results are bit-identical for all models, directions, minibatches and steps.
// Runs on the same GPU as cuda_engine_test.cpp.
#include <gtest/gtest.h>

#include <memory>

#include "base/error.h"
#include "runtime/cuda/devices.h"
#include "runtime/cuda/walk_cost.h"
#include "runtime/engine.h"
#include "tests/runtime/cuda_runs.h"
#include "tests/runtime/engine_runs.h"
#include "training/optimizer.h"
#include "training/update_rule.h"

namespace espalier::test {
namespace {

constexpr int embed = 12, hidden = 20;

class PersistentPath : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (const std::string why = runtime::why_no_cuda(); !why.empty()) GTEST_SKIP() << why;
    model_ = make_model(model(), embed, hidden, 0.3);
  }
  virtual std::string model() const { return GetParam(); }
  std::vector<data::Tree> trees(std::uint64_t seed, int count) const {
    return random_forest(model(), seed, count);
  }
  Engine engine(Persistent persistent, const std::string& costs = {}) const {
    EngineOptions settings = options({"", "phase", "", 1});
    settings.device = Device::cuda;
    settings.persistent = persistent;
    settings.debug.walk_costs = costs;
    Engine made(model_->program(), settings);
    randomize(made, 4);
    return made;
  }
  Instances recorded(Engine& engine, const std::vector<data::Tree>& trees,
                     Mode mode = Mode::training) const {
    const Instances minibatch = engine.instances(mode);
    for (std::size_t i = 0; i < trees.size(); ++i) {
      minibatch.begin_example(i);
      model_->record_loss(minibatch, trees[i]);
    }
    return minibatch;
  }
  std::unique_ptr<models::TreeModel> model_;
};

std::vector<std::vector<float>> params_of(const Engine& engine) {
  std::vector<std::vector<float>> result;
  for (const ir::Param& param : engine.program().params) {
    const std::span<const float> values = engine.param(param.name);
    result.emplace_back(values.begin(), values.end());
  }
  return result;
}

TEST_P(PersistentPath, StepsToTheSameBits) {
  for (const OptimizerInfo& info : optimizers()) {
    SCOPED_TRACE(info.name);
    Engine plain = engine(Persistent::off), walked = engine(Persistent::on);
    OptimizerOptions settings{.rule = info.defaults, .clip_norm = 0.5};
    settings.rule.l2 = 1e-3;
    StandardOptimizer of_plain(settings), of_walked(settings);
    for (int step = 0; step < 4; ++step) {
      // Other trees each time, but the same persistent kernel.
      const auto minibatch = trees(std::uint64_t(step), 9 - 2 * step);
      const StepResult expected = plain.train_step(recorded(plain, minibatch), of_plain);
      const StepResult actual = walked.train_step(recorded(walked, minibatch), of_walked);
      EXPECT_EQ(actual.loss, expected.loss);
      EXPECT_EQ(actual.gradient_norm, expected.gradient_norm);
      EXPECT_EQ(expected.statistics.device_walks, 0U);
      if (step == 0) continue;
      EXPECT_LE(actual.statistics.device_launches, 4U);
      EXPECT_EQ(actual.statistics.device_walks, actual.statistics.device_launches);
      EXPECT_GT(actual.statistics.walked_launches, actual.statistics.launches);
      EXPECT_GT(actual.statistics.grid_barriers, 0U);
      EXPECT_LT(actual.statistics.grid_barriers, actual.statistics.walked_launches);
      if (step == 1) continue;
      EXPECT_EQ(actual.statistics.device_copies, 1U);
      EXPECT_EQ(actual.statistics.compilations, 0);
    }
    EXPECT_EQ(params_of(walked), params_of(plain));
  }
}

TEST_P(PersistentPath, GradientsAndLossesDoNotDependOnThePath) {
  Engine plain = engine(Persistent::off), walked = engine(Persistent::on);
  for (int time = 0; time < 3; ++time) {
    const auto forest = trees(9, 7);
    const Outcome expected = outcome(plain, *model_, forest, all(forest));
    const Outcome actual = outcome(walked, *model_, forest, all(forest));
    EXPECT_EQ(actual.losses, expected.losses);
    EXPECT_EQ(actual.gradients, expected.gradients);
    // Nor on the rest of the minibatch.
    for (const int one : {5, 1}) {
      const Outcome alone = outcome(walked, *model_, forest, {one});
      EXPECT_EQ(alone.losses[0], expected.losses[std::size_t(one)]);
    }
  }
}

TEST_P(PersistentPath, InfersInOneLaunch) {
  Engine plain = engine(Persistent::off), walked = engine(Persistent::on);
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    const auto forest = trees(seed, 10 - 3 * int(seed));
    const double expected = plain.forward(recorded(plain, forest, Mode::inference)).loss;
    const StepResult actual = walked.forward(recorded(walked, forest, Mode::inference));
    EXPECT_EQ(actual.loss, expected);
    if (seed < 2) continue;
    EXPECT_EQ(actual.statistics.device_launches, 1U);
    EXPECT_EQ(actual.statistics.device_walks, 1U);
    EXPECT_EQ(actual.statistics.compilations, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, PersistentPath,
                         ::testing::Values("tree_lstm", "child_sum_tree_lstm", "lstm"),
                         [](const auto& info) { return info.param; });

/// A few training steps, launched or walked: short enough to run under a sanitizer.
class TrainingSteps : public PersistentPath {
 protected:
  std::string model() const override { return "tree_lstm"; }
};

TEST_P(TrainingSteps, AreThoseOfTheCpu) {
  const bool walked = GetParam() == "walked";
  Engine gpu = engine(walked ? Persistent::on : Persistent::off);
  Engine cpu(model_->program(), options({"", "phase", "", 1}));
  randomize(cpu, 4);
  StandardOptimizer of_gpu({.rule = update_rule("adagrad")});
  StandardOptimizer of_cpu({.rule = update_rule("adagrad")});
  for (std::uint64_t step = 0; step < 3; ++step) {
    const auto minibatch = trees(step, 5);
    const StepResult expected = cpu.train_step(recorded(cpu, minibatch), of_cpu);
    const StepResult actual = gpu.train_step(recorded(gpu, minibatch), of_gpu);
    EXPECT_NEAR(actual.loss, expected.loss, 1e-4 * expected.loss);
    EXPECT_NEAR(actual.gradient_norm, expected.gradient_norm, 1e-4 * expected.gradient_norm);
    if (step == 0) continue;  // kernels are walked from the second time on
    EXPECT_EQ(actual.statistics.device_walks, walked ? actual.statistics.device_launches : 0U);
    EXPECT_GT(actual.statistics.device_launches, 0U);
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, TrainingSteps, ::testing::Values("launched", "walked"),
                         [](const auto& info) { return info.param; });

/// Tests of one model.
class PersistentEngine : public PersistentPath {
 protected:
  std::string model() const override { return "tree_lstm"; }
};

TEST_F(PersistentEngine, ChoosesByMeasuredCosts) {
  // Whatever it chooses, the results are the same.
  Engine plain = engine(Persistent::off), automatic = engine(Persistent::automatic);
  for (int step = 0; step < 4; ++step) {
    const auto forest = trees(3, 6);
    const Outcome expected = outcome(plain, *model_, forest, all(forest));
    const Outcome actual = outcome(automatic, *model_, forest, all(forest));
    EXPECT_EQ(actual.losses, expected.losses);
    EXPECT_EQ(actual.gradients, expected.gradients);
  }
}

TEST_F(PersistentEngine, WalksAPartAndLaunchesTheRest) {
  // As on a GPU that is slow at walking contractions of many rows.
  const runtime::WalkCosts costs{.launch = 1e-3,
                                 .graph = 1e-3,
                                 .node = 9e-4,
                                 .walk = 1e-3,
                                 .record = 1e-6,
                                 .barrier = 1e-6,
                                 .flop = 1e-12,
                                 .walked_flop = 1e-7,
                                 .byte = 1e-12,
                                 .held_byte = 1e-12,
                                 .places = 4};
  for (const bool graphs : {false, true}) {
    Engine plain = engine(Persistent::off);
    EngineOptions settings = plain.options();
    settings.persistent = Persistent::automatic;
    settings.debug.walk_costs = to_text(costs);
    settings.debug.cuda_graphs = graphs;
    Engine mixed(model_->program(), settings);
    randomize(mixed, 4);
    StandardOptimizer of_plain({.rule = update_rule("adagrad")});
    StandardOptimizer of_mixed({.rule = update_rule("adagrad")});
    for (int step = 0; step < 5; ++step) {
      const auto forest = trees(3, 20);
      const StepResult expected = plain.train_step(recorded(plain, forest), of_plain);
      const StepResult actual = mixed.train_step(recorded(mixed, forest), of_mixed);
      EXPECT_EQ(actual.loss, expected.loss);
      EXPECT_EQ(actual.gradient_norm, expected.gradient_norm);
      if (step == 0) continue;
      EXPECT_GT(actual.statistics.device_walks, 0U);
      EXPECT_GT(actual.statistics.device_launches, actual.statistics.device_walks);
      if (step < 2) continue;
      EXPECT_EQ(actual.statistics.device_copies, 1U);
      EXPECT_EQ(actual.statistics.compilations, 0);
    }
    EXPECT_EQ(params_of(mixed), params_of(plain));
  }
}

TEST_F(PersistentEngine, RefusesInvalidCosts) {
  EXPECT_THROW(engine(Persistent::automatic, "1 2 3"), UserError);
}

TEST_F(PersistentEngine, FallsBackWithoutCooperativeLaunches) {
  if (!on_stand_in()) GTEST_SKIP() << "only the stand-in can lack them";
  const Variable without("ESPALIER_FAKE_CUDA_COOPERATIVE", "0");
  Engine lacking = engine(Persistent::on);
  for (int time = 0; time < 3; ++time) {
    const StepResult result = lacking.gradients(recorded(lacking, trees(3, 6)));
    EXPECT_EQ(result.statistics.device_walks, 0U);
    EXPECT_GT(result.statistics.device_launches, 0U);
  }
}

}  // namespace
}  // namespace espalier::test
