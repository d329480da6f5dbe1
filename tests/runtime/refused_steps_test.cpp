// Steps that are refused under a memory limit, or fail on the way: what ran and what was
// accumulated before is still there, or its loss is an error.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/runtime/engine_runs.h"
#include "tests/support/refusal.h"
#include "training/optimizer.h"

namespace espalier::test {
namespace {

/// A chain of `length` calls behind each leaf, and a loss: memory grows with the length.
struct Chains : Model {
  Cell<Tensor(Index)> leaf;
  Cell<Tensor(Tensor)> next, loss;

  Chains() : Model("chains") {
    const Param table = param("table", {50, 128}, Initializer::uniform(1));
    const Param w = param("w", {128, 128}, Initializer::uniform(0.1));
    leaf = cell("leaf", [=](Index i) -> Tensor { return row(table, i); });
    next = cell("next", {Shape{128}}, [=](Tensor x) -> Tensor { return tanh(matmul(w, x)); });
    loss = cell("loss", {Shape{128}}, [](Tensor x) -> Tensor { return sum(x * x); });
  }
  /// Examples first, first + 1, … of `count`; returns the losses, and the ends of the chains.
  std::vector<Call<Tensor>> record(const Instances& g, int count, int length, int first = 0,
                                   std::vector<Call<Tensor>>* ends = nullptr) const {
    std::vector<Call<Tensor>> losses;
    for (int i = first; i < first + count; ++i) {
      g.begin_example(std::uint64_t(i));
      auto x = g(leaf, i % 50);
      for (int k = 0; k < length; ++k) x = g(next, x);
      losses.push_back(g(loss, x));
      if (ends) ends->push_back(x);
      g.loss(losses.back());
    }
    return losses;
  }
};

EngineOptions limited(std::int64_t bytes) {
  EngineOptions result = options({"", "phase", "", 1});
  result.share = false;
  result.memory_limit = bytes;
  return result;
}

/// What `count` chains of `length` take: forward in inference, and with gradients.
std::int64_t bytes_of(const Chains& model, int count, int length, Mode mode) {
  Engine engine(model.program(), limited(0));
  const Instances g = engine.instances(mode);
  model.record(g, count, length);
  return engine.forecast_bytes(g);
}

std::vector<std::vector<float>> gradients_of(const Engine& engine) {
  std::vector<std::vector<float>> gradients;
  for (const ir::Param& param : engine.program().params)
    gradients.push_back(engine.gradient(param.name));
  return gradients;
}

void expect_close(const std::vector<std::vector<float>>& actual,
                  const std::vector<std::vector<float>>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t p = 0; p < expected.size(); ++p) {
    float largest = 0;
    for (const float x : expected[p]) largest = std::max(largest, std::abs(x));
    EXPECT_GT(largest, 0) << p;
    for (std::size_t i = 0; i < expected[p].size(); ++i)
      EXPECT_NEAR(actual[p][i], expected[p][i], 1000 * 0x1p-24 * largest) << p << " at " << i;
  }
}

/// After it ran in parts, the whole runs forward, and recording goes on. The lists of a minibatch
/// that was recorded before have room for what comes later.
TEST(AfterParts, TheWholeRunsForwardAndGoesOn) {
  const Chains model;
  const int count = 40, length = 12;
  Engine expected(model.program(), limited(0));
  const Instances all = expected.instances();
  std::vector<Call<Tensor>> ends;
  std::vector<Call<Tensor>> expected_losses = model.record(all, count, length, 0, &ends);
  const auto record_more = [&](const Instances& g, std::vector<Call<Tensor>>& losses) {
    for (std::size_t i = 0; i < ends.size(); ++i) {
      g.begin_example(i);
      losses.push_back(g(model.loss, ends[i]));
      g.loss(losses.back());
    }
  };
  record_more(all, expected_losses);
  expected.gradients(all, 1.0);
  std::vector<float> losses;
  for (const auto& loss : expected_losses) losses.push_back(expected.value(loss)[0]);

  const std::int64_t whole = bytes_of(model, count, length, Mode::training);
  int in_parts = 0, went_on = 0;
  for (int percent = 50; percent < 100; percent += 2) {
    SCOPED_TRACE(percent);
    Engine engine(model.program(), limited(whole * percent / 100));
    model.record(engine.instances(), 2 * count, length);
    const Instances g = engine.instances();
    ends.clear();
    auto calls = model.record(g, count, length, 0, &ends);
    if (engine.gradients(g, 1.0).statistics.parts < 2) continue;
    ++in_parts;
    if (refusal([&] { engine.forward(g); }) != "(nothing thrown)") continue;
    // Values of the whole are there now.
    for (std::size_t i = 0; i < calls.size(); ++i) EXPECT_EQ(engine.value(calls[i])[0], losses[i]);
    record_more(g, calls);
    // They stay, whether the rest fits beside them or not.
    if (refusal([&] { engine.forward(g); }) == "(nothing thrown)") {
      ++went_on;
      for (std::size_t i = 0; i < calls.size(); ++i)
        EXPECT_EQ(engine.value(calls[i])[0], losses[i]);
    }
    EXPECT_EQ(engine.value(calls[0])[0], losses[0]);
    engine.gradients(g, 1.0);
    expect_close(gradients_of(engine), gradients_of(expected));
  }
  EXPECT_GT(in_parts, 0);
  EXPECT_GT(went_on, 0);
}

TEST(AfterARefusal, ValuesSayWhatIsWrongOrAreThere) {
  const Chains model;
  const std::int64_t one = bytes_of(model, 1, 60, Mode::training);
  Engine engine(model.program(), limited(one - 4'000));
  const Instances g = engine.instances();
  const auto calls = model.record(g, 1, 60);
  EXPECT_NE(refusal([&] { engine.gradients(g); }).find("one example takes"), std::string::npos);
  EXPECT_EQ(refusal([&] { engine.value(calls[0]); }).find("in parts"), std::string::npos);

  Engine other(model.program(), limited(0));
  const Instances expected = other.instances();
  const auto expected_calls = model.record(expected, 1, 60);
  const std::string text = refusal([&] { engine.forward(g); });
  ASSERT_EQ(text, "(nothing thrown)");
  EXPECT_EQ(engine.value(calls[0])[0], other.value(expected_calls[0])[0]);
}

TEST(AnEmptyMinibatch, IsForecastAfterALargeStep) {
  const Chains model;
  const std::int64_t large = bytes_of(model, 100, 20, Mode::training);
  for (int percent = 90; percent < 110; percent += 2) {
    SCOPED_TRACE(percent);
    const std::int64_t limit = large * percent / 100;
    Engine engine(model.program(), limited(limit));
    const Instances g = engine.instances();
    model.record(g, 100, 20);
    engine.gradients(g);
    const Instances none = engine.instances();
    EXPECT_GT(engine.forecast_bytes(none), 0);
    EXPECT_LE(engine.forecast_bytes(none), limit);
  }
}

TEST(AccumulatedGradients, SurviveAStepThatIsRefused) {
  const Chains model;
  Engine expected(model.program(), limited(0));
  const Instances both = expected.instances();
  model.record(both, 2, 4);
  const StepResult sum = expected.gradients(both, 0.5);

  const std::int64_t limit = bytes_of(model, 1, 60, Mode::training);
  Engine engine(model.program(), limited(limit));
  const auto recorded = [&](int first, int length) {
    const Instances g = engine.instances();
    model.record(g, 1, length, first);
    return g;
  };
  engine.accumulate(recorded(0, 4), 0.5);
  EXPECT_NE(refusal([&] { engine.gradients(recorded(1, 600), 0.5); }).find("takes"),
            std::string::npos);
  const Instances inference = engine.instances(Mode::inference);
  model.record(inference, 1, 4);
  EXPECT_NE(refusal([&] { engine.gradients(inference, 0.5); }).find("inference"),
            std::string::npos);
  const StepResult step = engine.gradients(recorded(1, 4), 0.5);
  EXPECT_NEAR(step.loss, sum.loss, 1e-6 * std::abs(sum.loss));
  expect_close(gradients_of(engine), gradients_of(expected));
}

/// Examples 0, 1, … of which the last does not fit: a step in parts fails after the first part.
TEST(AccumulatedGradients, ThatAFailedStepChangedAreRefused) {
  const Chains model;
  Engine engine(model.program(), limited(bytes_of(model, 1, 60, Mode::training)));
  StandardOptimizer optimizer({.rule = update_rule("sgd")});
  const auto fails = [&] {
    const Instances g = engine.instances();
    model.record(g, 1, 10);
    model.record(g, 1, 90, 1);
    EXPECT_NE(refusal([&] { engine.gradients(g, 0.5); }).find("one example takes"),
              std::string::npos);
  };
  const auto recorded = [&] {
    const Instances g = engine.instances();
    model.record(g, 1, 4);
    return g;
  };
  // Nothing was accumulated: the next step begins anew.
  fails();
  EXPECT_EQ(refusal([&] { engine.gradients(recorded(), 0.5); }), "(nothing thrown)");
  const auto expected = gradients_of(engine);

  engine.accumulate(recorded(), 0.5);
  fails();
  for (int again = 0; again < 2; ++again) {
    const Instances g = recorded();
    EXPECT_NE(refusal([&] { engine.train_step(g, optimizer, 0.5); }).find("forget_accumulated()"),
              std::string::npos);
    EXPECT_NE(refusal([&] { engine.accumulate(g, 0.5); }).find("forget_accumulated()"),
              std::string::npos);
  }
  engine.forget_accumulated();
  engine.gradients(recorded(), 0.5);
  EXPECT_EQ(gradients_of(engine), expected);
}

}  // namespace
}  // namespace espalier::test
