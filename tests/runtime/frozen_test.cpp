// Params that no gradient reaches, or whose rate is 0, cost nothing: no gradient, no norm, no
// update, no state of the optimizer. Counted, not timed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "frontend/model.h"
#include "runtime/engine.h"
#include "training/optimizer.h"

namespace espalier {
namespace {

using ir::Granularity;

constexpr int kRows = 5000, kWidth = 40;
constexpr std::int64_t kTableBytes = std::int64_t{4} * kRows * kWidth;

/// Words of a table that is read behind stop_gradient, unless it is trained.
struct Words : Model {
  Cell<Tensor(Index)> word;
  Cell<Tensor(Tensor)> loss;

  explicit Words(bool trained) : Model("words") {
    Param table = param("table", {kRows, kWidth}), w = param("w", {kWidth, kWidth});
    param("unread", {kRows, kWidth});
    param("unread_number", {});
    word = cell("word", [=](Index i) -> Tensor {
      const Tensor vector = row(table, i);
      return tanh(matmul(w, trained ? vector : stop_gradient(vector)));
    });
    loss = cell("loss", {Shape{kWidth}}, [=](Tensor h) -> Tensor { return sum(h * h); });
  }

  Instances record(Engine& engine) const {
    Instances minibatch = engine.instances();
    for (int i = 0; i < 6; ++i) {
      minibatch.begin_example(std::uint64_t(i));
      minibatch.loss(minibatch(loss, minibatch(word, 7 * i)));
    }
    return minibatch;
  }
};

/// Counts what it is asked to update; SGD at rate 1.
class Counting final : public Optimizer {
 public:
  void prepare(std::span<const StoredParam> params) override {
    stored.assign(params.begin(), params.end());
  }
  void begin_step(const GradientInfo& gradients) override { norm = gradients.norm; }
  void update(ir::ParamId param, std::size_t, std::span<float> values,
              std::span<const float>) override {
    floats[stored[std::size_t(param)].name] += values.size();
  }
  bool updates_every_row(ir::ParamId) const override { return false; }
  void update_rows(ir::ParamId param, std::size_t, std::size_t width, std::span<float>,
                   std::span<const std::int32_t> rows, std::span<const float>) override {
    floats[stored[std::size_t(param)].name] += rows.size() * width;
  }

  std::vector<StoredParam> stored;
  std::map<std::string, std::size_t> floats;
  double norm = 0;
};

EngineOptions options(Granularity granularity) {
  EngineOptions result;
  result.granularity = granularity;
  result.threads = 1;
  return result;
}

class Frozen : public testing::TestWithParam<Granularity> {};

TEST_P(Frozen, WhatNoGradientReachesIsNotUpdated) {
  const Words model(false);
  Engine engine(model.program(), options(GetParam()));
  Counting optimizer;
  engine.train_step(model.record(engine), optimizer);
  EXPECT_EQ(optimizer.floats.count("table"), 0u);
  EXPECT_EQ(optimizer.floats.count("unread"), 0u);
  EXPECT_EQ(optimizer.floats.at("w"), std::size_t{kWidth * kWidth});
  for (const StoredParam& param : optimizer.stored)
    EXPECT_EQ(param.reached, param.name == "w") << param.name;
}

TEST_P(Frozen, HasNoGradientButZeros) {
  const Words model(false), trained(true);
  Engine engine(model.program(), options(GetParam())),
      other(trained.program(), options(GetParam()));
  const StepResult step = engine.gradients(model.record(engine));
  for (const char* name : {"table", "unread"})
    EXPECT_EQ(engine.gradient(name), std::vector<float>(std::size_t{kRows} * kWidth, 0.F));
  EXPECT_EQ(engine.gradient("unread_number"), std::vector<float>{0.F});
  double square = 0;
  for (const float g : engine.gradient("w")) square += double(g) * double(g);
  EXPECT_NEAR(step.gradient_norm, std::sqrt(square), 1e-6);
  other.gradients(trained.record(other));
  EXPECT_NE(other.gradient("table"), engine.gradient("table"));
  EXPECT_EQ(other.gradient("w"), engine.gradient("w"));
}

TEST_P(Frozen, KeepsItsValuesUnderL2AndMomentum) {
  const Words model(false);
  Engine engine(model.program(), options(GetParam()));
  StandardOptimizer optimizer({.rule = {.lr = 0.1, .momentum = 0.9, .l2 = 0.1}});
  const auto before = engine.param("table");
  const std::vector<float> values(before.begin(), before.end());
  for (int i = 0; i < 3; ++i) engine.train_step(model.record(engine), optimizer);
  EXPECT_TRUE(std::ranges::equal(std::as_const(engine).param("table"), values));
  for (const OptimizerBuffer& buffer : optimizer.buffers())
    EXPECT_EQ(buffer.values.size(), std::size_t{kWidth * kWidth});
}

INSTANTIATE_TEST_SUITE_P(Granularities, Frozen, testing::Values(Granularity::cell, Granularity::op),
                         [](const auto& info) {
                           return info.param == Granularity::cell ? "Cell" : "Op";
                         });

TEST(FrozenTable, HoldsNoMoreThanItsValues) {
  const Words model(false);
  Engine engine(model.program(), options(Granularity::cell));
  StandardOptimizer optimizer({.rule = {.lr = 0.1, .momentum = 0.9}});
  const StepResult step = engine.train_step(model.record(engine), optimizer);
  // The two tables; all else is small.
  EXPECT_LT(step.statistics.peak_bytes, 2 * kTableBytes + kTableBytes / 2);
}

TEST(FrozenTable, AndInPartsOfAMinibatch) {
  const Words model(false);
  Engine whole(model.program(), options(Granularity::cell));
  const std::int64_t needed = whole.forecast_bytes(model.record(whole));
  whole.gradients(model.record(whole));
  EngineOptions limited = options(Granularity::cell);
  for (const std::int64_t less : {200, 1000, 2000}) {
    limited.memory_limit = needed - less;
    Engine engine(model.program(), limited);
    const StepResult step = engine.gradients(model.record(engine));
    if (step.statistics.parts < 2) continue;
    EXPECT_EQ(engine.gradient("table"), whole.gradient("table"));
    EXPECT_LT(step.statistics.peak_bytes, 2 * kTableBytes + kTableBytes / 2);
    return;
  }
  ADD_FAILURE() << "no limit split the minibatch";
}

/// Only arithmetic outside cells reads `late`, from the second step on: it is trained from there.
TEST(ReachedLater, IsTrainedFromThenOn) {
  Model model("later");
  const Param late = model.param("late", {4}, Initializer::constant(2));
  const Param w = model.param("w", {4}, Initializer::constant(1));
  const auto leaf = model.cell("leaf", [=]() -> Tensor { return w * 3.0; });
  for (const char* kind : {"sgd", "adam"}) {
    SCOPED_TRACE(kind);
    Engine engine(model.program(), options(Granularity::cell));
    StandardOptimizer optimizer({.rule = update_rule(kind)});
    for (int step = 0; step < 3; ++step) {
      const Instances g = engine.instances();
      const auto call = g(leaf);
      g.loss(sum(step > 0 ? call * late : call));
      const float before = engine.param("late")[0], factor = 3 * engine.param("w")[0];
      engine.train_step(g, optimizer);
      EXPECT_FLOAT_EQ(engine.gradient("late")[0], step > 0 ? factor : 0.F);
      EXPECT_EQ(engine.param("late")[0] != before, step > 0);
    }
    EXPECT_EQ(optimizer.buffers().size(), kind == std::string("adam") ? 4u : 0u);
  }
}

/// A rule whose rate is 0, with all that else would change every row.
TEST(RateZero, UpdatesNothingAndKeepsNothing) {
  const Words model(true);
  for (const char* kind : {"sgd", "adagrad", "adam"}) {
    SCOPED_TRACE(kind);
    Engine engine(model.program(), options(Granularity::cell));
    UpdateRule frozen = update_rule(kind);
    frozen.lr = 0;
    frozen.momentum = 0.9;
    frozen.l2 = 0.1;
    StandardOptimizer optimizer({.rule = update_rule("adam"), .overrides = {{"table", frozen}}});
    const auto before = engine.param("table");
    const std::vector<float> values(before.begin(), before.end());
    engine.train_step(model.record(engine), optimizer);
    EXPECT_TRUE(std::ranges::equal(std::as_const(engine).param("table"), values));
    EXPECT_FALSE(optimizer.updates(0));
    EXPECT_FALSE(optimizer.updates_every_row(0));
    for (const OptimizerBuffer& buffer : optimizer.buffers()) EXPECT_NE(buffer.param, 0);
    // A gradient reaches it: it can be read, and counts in the norm.
    const std::vector<float> gradient = engine.gradient("table");
    EXPECT_TRUE(std::ranges::any_of(gradient, [](float x) { return x != 0; }));
  }
}

}  // namespace
}  // namespace espalier
