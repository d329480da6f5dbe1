// What a user may do with an engine: values in the middle of recording, arithmetic outside cells,
// dropout and inference, and what is refused.
#include "runtime/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "codegen/kernel/lower.h"
#include "ir/passes/gradient.h"
#include "runtime/cuda/devices.h"
#include "tests/runtime/engine_runs.h"

namespace espalier::test {
namespace {

using models::TreeModel;

struct Pair {
  Tensor a, b;
};

struct Single {
  Tensor x;
};

/// A small model with everything a user may do outside cells.
struct Chain : Model {
  Cell<Pair(Index)> start;
  Cell<Pair(Pair, Index)> next;
  Cell<Tensor(Pair)> score;

  Chain() : Model("chain") {
    declare_state<Pair>(Shape{4}, Shape{3});
    const Param embed = param("embed", {9, 4}, Initializer::uniform(0.5));
    const Param w = param("w", {3, 4}), out = param("out", {1, 3});
    start = cell("start", [=](Index i) -> Pair {
      const Tensor x = row(embed, i);
      return {.a = tanh(x), .b = matmul(w, x)};
    });
    next = cell("next", [=](Pair p, Index i) -> Pair {
      const Tensor x = row(embed, i) + p.a;
      return {.a = tanh(x), .b = matmul(w, x) + p.b};
    });
    score = cell("score", [=](Pair p) -> Tensor { return reshape(matmul(out, p.b), Shape{}); });
  }
};

TEST(Engine, ReadsValuesInTheMiddleOfRecording) {
  const Chain model;
  Engine engine(model.program(), options({"", "agenda", "", 1}));
  randomize(engine, 1);
  Instances minibatch = engine.instances();
  auto pair = minibatch(model.start, 3);
  int steps = 0;
  // Branches on a value that has just been computed.
  for (; steps < 50 && engine.value(minibatch(model.score, pair))[0] < 0.5F; ++steps)
    pair = minibatch(model.next, pair, steps % 9);
  auto last = minibatch(model.score, pair);
  minibatch.loss(last);
  const StepResult once = engine.gradients(minibatch);
  const std::vector<float> gradient = engine.gradient("embed");
  const float value = engine.value(last)[0];

  // The same recorded in one go.
  minibatch = engine.instances();
  pair = minibatch(model.start, 3);
  for (int step = 0; step < steps; ++step) {
    minibatch(model.score, pair);
    pair = minibatch(model.next, pair, step % 9);
  }
  minibatch(model.score, pair);
  last = minibatch(model.score, pair);
  minibatch.loss(last);
  EXPECT_EQ(engine.gradients(minibatch).loss, once.loss);
  EXPECT_EQ(engine.value(last)[0], value);
  const std::vector<float> again = engine.gradient("embed");
  ASSERT_EQ(again.size(), gradient.size());
  for (std::size_t i = 0; i < again.size(); ++i) EXPECT_NEAR(again[i], gradient[i], 1e-6);
}

/// A value that is a product or a param as it stands: the gradient that arrives is what its weights
/// need, so that the backward kernel has nothing to keep, or nothing to do at all.
struct PassedOn : Model {
  Cell<Single(Index)> first;
  Cell<Single(Index)> product;
  Cell<Tensor(Single)> score;

  PassedOn() : Model("passed_on") {
    declare_state<Single>(Shape{3});
    const Param start = param("start", {3}), table = param("table", {9, 4});
    const Param w = param("w", {3, 4});
    first = cell("first", [=](Index) -> Single { return {.x = start}; });
    product = cell("product", [=](Index i) -> Single { return {.x = matmul(w, row(table, i))}; });
    score = cell("score", [=](Single s) -> Tensor { return espalier::sum(s.x * s.x, 0); });
  }
};

TEST(Engine, WeightGradientsOfWhatACellPassesOn) {
  const PassedOn model;
  const ir::Program& program = model.program();
  const auto kept = [&](std::size_t cell) {
    return codegen::backward_storage(ir::differentiate(program, program.cells[cell]).backward)
        .stored.size();
  };
  EXPECT_EQ(kept(0), 0U);
  EXPECT_EQ(kept(1), 1U);  // of a row of the table
  Engine engine(model.program(), options({"", "agenda", "", 2}));
  randomize(engine, 1);
  Instances minibatch = engine.instances();
  // With one reader, with two, and with none.
  std::vector<double> times{1, 2, 0, 1};
  for (std::size_t i = 0; i < times.size(); ++i) {
    const auto a = minibatch(model.first, int(i)), b = minibatch(model.product, int(i));
    for (int reader = 0; reader < times[i]; ++reader) {
      minibatch.loss(minibatch(model.score, a));
      minibatch.loss(minibatch(model.score, b));
    }
  }
  engine.gradients(minibatch, 1.0);
  const auto start = engine.param("start"), w = engine.param("w"), table = engine.param("table");
  const std::vector<float> d_start = engine.gradient("start"), d_w = engine.gradient("w"),
                           d_table = engine.gradient("table");
  std::vector<double> to_w(12), to_table(36);
  for (std::size_t i = 0; i < times.size(); ++i)
    for (std::size_t j = 0; j < 3; ++j) {
      double y = 0;
      for (std::size_t k = 0; k < 4; ++k) y += double(w[4 * j + k]) * table[4 * i + k];
      for (std::size_t k = 0; k < 4; ++k) {
        to_w[4 * j + k] += times[i] * 2 * y * table[4 * i + k];
        to_table[4 * i + k] += times[i] * 2 * y * w[4 * j + k];
      }
    }
  for (std::size_t j = 0; j < 3; ++j) EXPECT_NEAR(d_start[j], 4 * 2 * start[j], 1e-5);
  for (std::size_t n = 0; n < 12; ++n) EXPECT_NEAR(d_w[n], to_w[n], 1e-5);
  for (std::size_t n = 0; n < 36; ++n) EXPECT_NEAR(d_table[n], to_table[n], 1e-5);
}

TEST(Engine, ArithmeticOutsideCellsMakesOneOpCells) {
  const Chain model;
  for (const auto granularity : {ir::Granularity::cell, ir::Granularity::op}) {
    Engine engine(model.program(), options({"", "agenda", "", 2, granularity}));
    randomize(engine, 1);
    Instances minibatch = engine.instances();
    const auto one = field(minibatch(model.start, 1), &Pair::b);
    const auto two = field(minibatch(model.start, 2), &Pair::b);
    const auto sum = tanh(one + two * 2.0);
    const auto loss = espalier::sum(sum * sum, 0);
    minibatch.loss(loss);
    const StepResult step = engine.gradients(minibatch);
    const auto a = engine.value(one), b = engine.value(two);
    double expected = 0;
    for (int i = 0; i < 3; ++i) expected += std::pow(std::tanh(double(a[i]) + 2.0 * b[i]), 2);
    EXPECT_NEAR(step.loss, expected, 1e-6);
    EXPECT_GT(step.gradient_norm, 0);
    // Central differences through the whole engine, in single precision.
    for (const std::size_t i : {4U, 9U}) {
      const double analytic = engine.gradient("embed")[i];
      const float h = 1e-2F;
      double losses[2];
      for (int side : {0, 1}) {
        engine.param("embed")[i] += side == 0 ? h : -2 * h;
        Instances again = engine.instances();
        const auto x = field(again(model.start, 1), &Pair::b);
        const auto y = field(again(model.start, 2), &Pair::b);
        const auto z = tanh(x + y * 2.0);
        again.loss(espalier::sum(z * z, 0));
        losses[side] = engine.forward(again).loss;
      }
      engine.param("embed")[i] += h;
      EXPECT_NEAR(analytic, (losses[0] - losses[1]) / (2 * double(h)), 2e-3);
    }
  }
}

/// Dropout on an instance's value, on each child's, and on their sum.
struct DroppedSum : Model {
  Cell<Tensor(Index)> leaf;
  Cell<Tensor(Children<Tensor>)> total;

  DroppedSum() : Model("dropped_sum") {
    const Param embed = param("embed", {9, 6}, Initializer::uniform(1));
    leaf = cell("leaf", [=](Index i) -> Tensor { return dropout(row(embed, i), 0.5); });
    total = cell("total", {Shape{6}}, [=](Children<Tensor> x) -> Tensor {
      return dropout(sum_children(dropout(x, 0.3)), 0.2);
    });
  }
};

TEST(Engine, DropsTheSameElementsInBothGranularities) {
  const DroppedSum model;
  std::vector<float> values[2];
  for (const auto granularity : {ir::Granularity::cell, ir::Granularity::op}) {
    Engine engine(model.program(), options({"", "agenda", "", 1, granularity}));
    const Instances minibatch = engine.instances();
    std::vector<Call<Tensor>> sums;
    for (std::uint64_t example = 0; example < 3; ++example) {
      minibatch.begin_example(example);
      std::vector<Call<Tensor>> leaves;
      for (int i = 0; i < 5; ++i) leaves.push_back(minibatch(model.leaf, i));
      sums.push_back(minibatch(model.total, leaves));
    }
    for (const Call<Tensor>& sum : sums)
      for (const float value : engine.value(sum)) values[int(granularity)].push_back(value);
  }
  EXPECT_EQ(values[0], values[1]);
  EXPECT_GT(std::ranges::count(values[0], 0.F), 0);
  // Examples draw masks of their own.
  EXPECT_FALSE(std::equal(values[0].begin(), values[0].begin() + 6, values[0].begin() + 6));
}

TEST(Engine, InferenceLeavesDropoutOut) {
  const auto trees = random_forest("tree_lstm", 2, 3);
  const auto with = make_model("tree_lstm", 6, 8, 0.5), without = make_model("tree_lstm", 6, 8, 0);
  double inference[2], training[2];
  for (int i : {0, 1}) {
    TreeModel& model = i == 0 ? *with : *without;
    Engine engine(model.program(), options({"", "agenda", "", 1}));
    randomize(engine, 5);
    const Instances minibatch = engine.instances(Mode::inference);
    for (const data::Tree& tree : trees) model.record_loss(minibatch, tree);
    inference[i] = engine.forward(minibatch, 1.0).loss;
    training[i] = outcome(engine, model, trees, all(trees)).loss * double(trees.size());
  }
  EXPECT_EQ(inference[0], inference[1]);
  EXPECT_NEAR(training[1], inference[1], 1e-5);
  EXPECT_GT(std::abs(training[0] - inference[0]), 1e-3);
}

TEST(Engine, NamesTheOpThatGaveANan) {
  Model model("logs");
  const Param x = model.param("x", {3}, Initializer::constant(1));
  const auto leaf = model.cell("leaf", [=](Index i) -> Tensor { return log(row(x, i)); });
  EngineOptions with = options({"", "agenda", "", 1});
  with.debug.check_finite = true;
  Engine engine(model.program(), with);
  engine.param("x")[2] = -1;
  const Instances minibatch = engine.instances();
  minibatch.begin_example(41);
  minibatch(leaf, 1);
  minibatch.begin_example(42);
  minibatch(leaf, 2);
  try {
    engine.forward(minibatch);
    FAIL() << "a NaN passed";
  } catch (const UserError& error) {
    const std::string text = error.what();
    for (const char* part : {"cell 'leaf'", "op 'log'", "example 42"})
      EXPECT_NE(text.find(part), std::string::npos) << text;
  }
}

template <class F>
std::string refusal(F f) {
  try {
    f();
  } catch (const UserError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Engine, RefusesWhatCannotBe) {
  const Chain model;
  if (!runtime::why_no_cuda().empty()) {
    EXPECT_NE(refusal([&] { Engine(model.program(), {.device = Device::cuda}); }).find("CUDA"),
              std::string::npos);
  }
  EXPECT_NE(refusal([&] { Engine(model.program(), {.strategy = "depht"}); }).find("depth"),
            std::string::npos);
  Engine engine(model.program());
  EXPECT_NE(refusal([&] { engine.param("embde"); }).find("'embed'"), std::string::npos);
  Instances minibatch = engine.instances();
  const auto start = minibatch(model.start, 1);
  EXPECT_NE(refusal([&] { engine.gradients(minibatch); }).find("no loss"), std::string::npos);
  EXPECT_NE(refusal([&] { minibatch.loss(start); }), "no error");
  EXPECT_NE(refusal([&] { minibatch(model.start, 9); }).find("9"), std::string::npos);
  engine.instances();
  EXPECT_NE(refusal([&] { engine.value(start); }), "no error");
  minibatch = engine.instances(Mode::inference);
  minibatch.loss(minibatch(model.score, minibatch(model.start, 1)));
  EXPECT_NE(refusal([&] { engine.gradients(minibatch); }).find("inference"), std::string::npos);
  engine.forward(minibatch);
  EXPECT_EQ(refusal([&] { engine.gradient("w"); }),
            "the gradient of 'w' is asked for before any step");
}

TEST(Engine, RunsDeepAndEmptyMinibatches) {
  const Chain model;
  Engine engine(model.program(), options({"", "agenda", "", 2}));
  Instances minibatch = engine.instances();
  EXPECT_EQ(engine.forward(minibatch).loss, 0);
  auto pair = minibatch(model.start, 0);
  for (int i = 0; i < 20'000; ++i) pair = minibatch(model.next, pair, i % 9);
  minibatch.loss(minibatch(model.score, pair));
  EXPECT_TRUE(std::isfinite(engine.gradients(minibatch).loss));
}

}  // namespace
}  // namespace espalier::test
