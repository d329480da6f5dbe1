// The order of things in a run, with steps and evaluations made up by the test.
#include "training/loop.h"

#include <gtest/gtest.h>

#include <cmath>
#include <csignal>
#include <sstream>
#include <string>
#include <vector>

#include "tests/data/support.h"
#include "training/interrupt.h"
#include "training/optimizer.h"
#include "training/rate_schedule.h"

namespace espalier {
namespace {

using data::refusal;

/// A run of `accuracies.size()` epochs of two minibatches of 3 and 1 examples; a step takes two
/// seconds, an evaluation one.
struct FakeRun {
  std::vector<double> accuracies;
  TrainingOptions options;
  StandardOptimizer optimizer{{.rule = {.lr = 0.5}}};
  std::ostringstream out;
  double time = 0;
  std::vector<std::string> events;
  std::vector<double> rates;
  int stop_after = -1;  // events

  explicit FakeRun(std::vector<double> dev) : accuracies(std::move(dev)) {
    options.epochs = static_cast<int>(accuracies.size());
  }

  TrainingTask task() {
    TrainingTask task;
    task.begin_epoch = [this](int epoch) {
      events.push_back("epoch " + std::to_string(epoch));
      return EpochSize{.minibatches = 2, .examples = 4};
    };
    task.step = [this](int minibatch) {
      events.push_back("step " + std::to_string(minibatch));
      rates.push_back(optimizer.rate_factor());
      time += 2;
      return minibatch == 0
                 ? MinibatchReport{.loss = 1, .examples = 3, .statistics = {.batches = 5}}
                 : MinibatchReport{.loss = 5, .examples = 1, .statistics = {.batches = 2}};
    };
    task.evaluate = [this, evaluated = 0]() mutable {
      events.push_back("evaluate");
      time += 1;
      return accuracies[evaluated++];
    };
    task.keep = [this](const EpochReport& report) {
      events.push_back("keep " + std::to_string(report.epoch));
    };
    task.interrupted = [this] { return static_cast<int>(events.size()) == stop_after; };
    return task;
  }

  TrainingResult run(const TrainingTask& task) {
    Progress progress(out, Terminal{}, "trees", [this] { return time; });
    return train(options, task, optimizer, progress);
  }
  TrainingResult run() { return run(task()); }
};

using Events = std::vector<std::string>;

TEST(Loop, RunsEpochsAndKeepsTheBest) {
  FakeRun run({0.25, 0.5, 0.5});
  run.options.metric = "dev acc (roots)";
  const TrainingResult result = run.run();
  EXPECT_EQ(run.events, (Events{"epoch 0", "step 0", "step 1", "evaluate", "keep 1",  //
                                "epoch 1", "step 0", "step 1", "evaluate", "keep 2",  //
                                "epoch 2", "step 0", "step 1", "evaluate"}));
  EXPECT_EQ(
      run.out.str(),
      "epoch 1/3 | loss 2.000 | dev acc (roots) 0.250 | lr 5.0e-01 | 1.0 trees/s | eta 00:10\n"
      "epoch 2/3 | loss 2.000 | dev acc (roots) 0.500 | lr 5.0e-01 | 1.0 trees/s | eta 00:05\n"
      "epoch 3/3 | loss 2.000 | dev acc (roots) 0.500 | lr 5.0e-01 | 1.0 trees/s | eta 00:00\n");
  EXPECT_EQ(result.best_epoch, 2);
  EXPECT_EQ(result.epochs.size(), 3u);
  EXPECT_TRUE(result.epochs[1].best);
  EXPECT_FALSE(result.epochs[2].best);
  EXPECT_EQ(result.epochs[2].seconds, 5);
  EXPECT_FALSE(result.interrupted || result.stopped_early);
  EXPECT_EQ(result.steps, 6);
  EXPECT_EQ(result.examples, 12);
  EXPECT_EQ(result.training_seconds, 12);
  EXPECT_EQ(result.statistics.batches, 21u);
}

TEST(Loop, StopsWhenPatienceRunsOut) {
  FakeRun run({0.5, 0.4, 0.6, 0.6, 0.5, 0.9});
  run.options.patience = 2;
  const TrainingResult result = run.run();
  EXPECT_EQ(result.epochs.size(), 5u);
  EXPECT_EQ(result.best_epoch, 3);
  EXPECT_TRUE(result.stopped_early);
}

TEST(Loop, WithoutDevDataTheLastEpochIsTheBest) {
  FakeRun run({0, 0});
  run.options.patience = 1;
  TrainingTask task = run.task();
  task.evaluate = nullptr;
  const TrainingResult result = run.run(task);
  EXPECT_EQ(result.best_epoch, 2);
  EXPECT_EQ(run.events.back(), "keep 2");
  EXPECT_EQ(run.out.str().find("dev"), std::string::npos);
}

TEST(Loop, WithoutLabelledDevDataTheLastEpochIsTheBest) {
  FakeRun run({std::nan(""), std::nan("")});
  run.options.patience = 1;
  EXPECT_EQ(run.run().best_epoch, 2);
  EXPECT_EQ(run.events.back(), "keep 2");
}

TEST(Loop, AnInterruptInTheFirstEpochKeepsWhatThereIs) {
  FakeRun run({0.5, 0.6});
  run.stop_after = 2;
  const TrainingResult result = run.run();
  EXPECT_EQ(run.events, (Events{"epoch 0", "step 0", "keep 1"}));
  EXPECT_EQ(run.out.str(), "interrupted in epoch 1/2 after 3 examples\n");
  EXPECT_TRUE(result.interrupted);
  EXPECT_EQ(result.best_epoch, 0);
}

TEST(Loop, AnInterruptLaterLeavesTheBestEpoch) {
  FakeRun run({0.5, 0.6});
  run.stop_after = 7;
  const TrainingResult result = run.run();
  EXPECT_EQ(run.events.back(), "step 0");
  EXPECT_TRUE(result.interrupted);
  EXPECT_EQ(result.best_epoch, 1);
  EXPECT_EQ(result.epochs.size(), 1u);
}

TEST(Loop, AnInterruptDuringEvaluationEndsTheRunAfterIt) {
  FakeRun run({0.5, 0.6});
  run.stop_after = 5;
  const TrainingResult result = run.run();
  EXPECT_EQ(run.events.back(), "keep 1");
  EXPECT_TRUE(result.interrupted);
  EXPECT_EQ(result.epochs.size(), 1u);
}

TEST(Loop, FollowsTheScheduleOfTheRate) {
  FakeRun run({0, 0});
  run.options.schedule = {.kind = "linear", .warmup_steps = 1};
  const TrainingResult result = run.run();
  EXPECT_EQ(run.rates, (std::vector<double>{0.5, 1, 1 - 1.0 / 3, 1 - 2.0 / 3}));
  EXPECT_EQ(result.epochs[0].lr, 0.5);
}

TEST(Loop, RefusesRunsWithoutEpochs) {
  FakeRun run({});
  EXPECT_EQ(refusal([&] { run.run(); }), "training: found 0 epochs, expected at least 1");
}

TEST(RateSchedule, Shapes) {
  const auto factors = [](const std::string& kind, std::int64_t warmup) {
    std::vector<double> result;
    for (int step = 0; step < 6; ++step)
      result.push_back(rate_factor({.kind = kind, .warmup_steps = warmup}, step, 6));
    return result;
  };
  EXPECT_EQ(factors("constant", 0), (std::vector<double>(6, 1.0)));
  EXPECT_EQ(factors("constant", 2), (std::vector<double>{1.0 / 3, 2.0 / 3, 1, 1, 1, 1}));
  EXPECT_EQ(factors("linear", 2), (std::vector<double>{1.0 / 3, 2.0 / 3, 1, 0.75, 0.5, 0.25}));
  EXPECT_DOUBLE_EQ(factors("cosine", 0)[3], 0.5);
  EXPECT_DOUBLE_EQ(factors("cosine", 2)[4], 0.5);
  EXPECT_DOUBLE_EQ(factors("inverse_sqrt", 1)[4], 0.5);
  EXPECT_DOUBLE_EQ(factors("inverse_sqrt", 0)[0], 1);
  for (std::string_view kind : rate_schedules())
    EXPECT_GE(rate_factor({.kind = std::string(kind)}, 100, 6), 0) << "beyond the end: " << kind;
}

TEST(RateSchedule, RefusesOtherNames) {
  EXPECT_EQ(refusal([] { rate_factor({.kind = "cosin"}, 0, 1); }),
            "learning rate schedule: found 'cosin', expected one of constant, linear, cosine, "
            "inverse_sqrt; nearest: 'cosine'");
  EXPECT_EQ(refusal([] { rate_factor({.warmup_steps = -1}, 0, 1); }),
            "learning rate schedule: found -1 warm-up steps, expected at least 0");
}

int signals_seen = 0;

class Interrupt : public testing::TestWithParam<int> {};

TEST_P(Interrupt, TheFirstOneIsOnlyNoted) {
  const int signal = GetParam();
  const auto before = std::signal(signal, [](int) { ++signals_seen; });
  signals_seen = 0;
  {
    const InterruptGuard guard;
    EXPECT_FALSE(guard.interrupted());
    std::raise(signal);
    EXPECT_TRUE(guard.interrupted());
    EXPECT_EQ(guard.exit_status(), 128 + signal);
  }
  EXPECT_EQ(signals_seen, 0);
  std::raise(signal);
  EXPECT_EQ(signals_seen, 1) << "the handler of before is back";
  {
    const InterruptGuard guard;
    EXPECT_FALSE(guard.interrupted());
  }
  std::signal(signal, before);
}

class InterruptDeathTest : public testing::TestWithParam<int> {};

TEST_P(InterruptDeathTest, ASecondOneOfEitherKindEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (const int second : {SIGINT, SIGTERM})
    EXPECT_EXIT(
        {
          const InterruptGuard guard;
          std::raise(GetParam());
          std::raise(second);
        },
        testing::KilledBySignal(second), "");
}

INSTANTIATE_TEST_SUITE_P(Signals, Interrupt, testing::Values(SIGINT, SIGTERM));
INSTANTIATE_TEST_SUITE_P(Signals, InterruptDeathTest, testing::Values(SIGINT, SIGTERM));

/// As a user may write one: no learning rate, no state.
class Halving : public Optimizer {
 public:
  void prepare(std::span<const StoredParam>) override {}
  void begin_step(const GradientInfo&) override {}
  void update(ir::ParamId, std::size_t, std::span<float> values, std::span<const float>) override {
    for (float& value : values) value /= 2;
  }
  bool updates_every_row(ir::ParamId) const override { return true; }
  void update_rows(ir::ParamId, std::size_t, std::size_t, std::span<float>,
                   std::span<const std::int32_t>, std::span<const float>) override {}
};

TEST(Loop, TakesAnOptimizerWithoutALearningRate) {
  Halving optimizer;
  std::ostringstream text;
  Progress progress(text, {}, "trees");
  const TrainingTask task{.begin_epoch = [](int) { return EpochSize{2, 2}; },
                          .step = [](int) { return MinibatchReport{.loss = 1, .examples = 1}; }};
  EXPECT_EQ(train({.epochs = 2}, task, optimizer, progress).steps, 4);
  EXPECT_EQ(test::refusal([&] {
              train({.epochs = 2, .schedule = {.kind = "linear"}}, task, optimizer, progress);
            }),
            "training: found the learning rate schedule 'linear' with 0 warm-up steps for an "
            "optimizer without a learning rate, expected 'constant' without any");
}

}  // namespace
}  // namespace espalier
