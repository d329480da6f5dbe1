// Params that a gradient reaches only later, or only by rows: what is read, accumulated and updated
// then is what was collected, never memory that nobody wrote.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "frontend/model.h"
#include "runtime/engine.h"
#include "tests/runtime/engine_runs.h"
#include "tests/support/refusal.h"
#include "training/optimizer.h"

namespace espalier::test {
namespace {

constexpr int late_size = 4096;

/// Only arithmetic outside cells reads `late`.
struct LateModel : Model {
  Param late = param("late", {late_size}, Initializer::constant(2));
  Param w = param("w", {late_size}, Initializer::constant(1));
  Cell<Tensor()> leaf;

  LateModel() : Model("late") {
    leaf = cell("leaf", [w = w]() -> Tensor { return w * 3.0; });
  }
  Instances record(Engine& engine, Mode mode, bool with_late, bool marks_loss = true) const {
    const Instances g = engine.instances(mode);
    const auto call = g(leaf);
    const auto loss = with_late ? sum(call * late) : sum(call);
    if (marks_loss) g.loss(loss);
    return g;
  }
};

/// Fills freed memory, so that memory that is used without being written is not 0.
void soil_memory() {
  for (int i = 0; i < 8; ++i) {
    std::vector<std::vector<float>> blocks(16);
    for (auto& block : blocks) block.assign(late_size, 7.5F);
  }
}

std::vector<float> values(Engine& engine, const char* name) {
  const auto of = std::as_const(engine).param(name);
  return {of.begin(), of.end()};
}

const std::vector<float> zeros(late_size, 0.F);

class LateParam : public testing::Test {
 protected:
  LateModel model_;
  Engine engine_{model_.program(), options({"", "phase", "", 1})};
  StandardOptimizer optimizer_{{.rule = update_rule("sgd")}};
};

TEST_F(LateParam, HasNoGradientFromAStepBefore) {
  engine_.train_step(model_.record(engine_, Mode::training, false), optimizer_);
  soil_memory();
  engine_.forward(model_.record(engine_, Mode::inference, true));
  EXPECT_EQ(engine_.gradient("late"), zeros);
}

TEST_F(LateParam, IsNotUpdatedIfOnlyAnEvaluationReadsIt) {
  engine_.accumulate(model_.record(engine_, Mode::training, false), 1);
  soil_memory();
  engine_.forward(model_.record(engine_, Mode::inference, true));
  const StepResult step =
      engine_.train_step(model_.record(engine_, Mode::training, false), optimizer_, 1);
  EXPECT_NEAR(step.gradient_norm, 6 * std::sqrt(double(late_size)), 1e-3);
  EXPECT_EQ(engine_.gradient("late"), zeros);
  EXPECT_EQ(values(engine_, "late"), std::vector<float>(late_size, 2.F));
}

TEST_F(LateParam, IsNotUpdatedIfNoLossDependsOnIt) {
  engine_.accumulate(model_.record(engine_, Mode::training, false), 1);
  soil_memory();
  const StepResult step =
      engine_.train_step(model_.record(engine_, Mode::training, true, false), optimizer_, 1);
  EXPECT_NEAR(step.gradient_norm, 3 * std::sqrt(double(late_size)), 1e-3);
  EXPECT_EQ(values(engine_, "late"), std::vector<float>(late_size, 2.F));
  EXPECT_EQ(engine_.gradient("late"), zeros);
}

/// Of a table that is read by rows: that a later minibatch reads it whole does not change them.
TEST(RowGradients, StayReadableOnceTheTableIsReadWhole) {
  Model model("table");
  const Param table = model.param("table", {40, 8}, Initializer::uniform(1));
  const auto leaf = model.cell("leaf", [=](Index i) -> Tensor { return row(table, i) * 2.0; });
  Engine engine(model.program(), options({"", "phase", "", 1}));
  const Instances g = engine.instances();
  g.loss(sum(g(leaf, 3)));
  engine.gradients(g, 1.0);
  const std::vector<float> expected = engine.gradient("table");
  EXPECT_EQ(expected[3 * 8], 2.F);
  soil_memory();
  const Instances whole = engine.instances();
  whole.loss(sum(matmul(table, whole(leaf, 5))));
  engine.forecast_bytes(whole);
  EXPECT_EQ(engine.gradient("table"), expected);
}

/// A table whose cell has not been called, beside one that has.
TEST(RowGradients, TakeNoMemoryBeforeTheirCellIsCalled) {
  constexpr int rows = 20'000, width = 50;
  Model model("two_tables");
  const Param small = model.param("small", {10, width}, Initializer::uniform(1));
  const Param large = model.param("large", {rows, width}, Initializer::uniform(1));
  const auto first = model.cell("first", [=](Index i) -> Tensor { return sum(row(small, i)); });
  model.cell("second", [=](Index i) -> Tensor { return sum(row(large, i)); });
  Engine engine(model.program(), options({"", "phase", "", 1}));
  StandardOptimizer optimizer({.rule = update_rule("sgd")});
  const Instances g = engine.instances();
  g.loss(g(first, 3));
  const StepStatistics step = engine.train_step(g, optimizer).statistics;
  EXPECT_LT(step.bytes_held, std::int64_t(1.5 * sizeof(float) * rows * width));
  EXPECT_EQ(engine.gradient("large"), std::vector<float>(std::size_t{rows} * width, 0.F));
}

/// A limit that leaves room for the table, and what is read of it, is no error.
TEST(RowGradients, DoNotCountAsDenseUnderAMemoryLimit) {
  constexpr int rows = 20'000, width = 50;
  Model model("table");
  const Param table = model.param("table", {rows, width}, Initializer::uniform(1));
  const auto cell = model.cell("cell", [=](Index i) -> Tensor { return sum(row(table, i)); });
  EngineOptions settings = options({"", "phase", "", 1});
  settings.memory_limit = std::int64_t(1.5 * sizeof(float) * rows * width);
  Engine engine(model.program(), settings);
  StandardOptimizer optimizer({.rule = update_rule("sgd")});
  const Instances g = engine.instances();
  for (int i = 0; i < 10; ++i) g.loss(g(cell, i));
  const StepStatistics step = engine.train_step(g, optimizer).statistics;
  EXPECT_EQ(step.parts, 1);
  EXPECT_LE(step.peak_bytes, settings.memory_limit);
}

}  // namespace
}  // namespace espalier::test
