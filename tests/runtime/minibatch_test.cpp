// Minibatches as users record them: examples in turns, handles that have ended, values read in
// between, numbers outside cells.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "ir/record/recorder.h"
#include "tests/runtime/engine_runs.h"
#include "tests/support/refusal.h"
#include "tests/support/rounding.h"
#include "training/optimizer.h"

namespace espalier::test {
namespace {

/// A language model with dropout: a loss after every word.
struct Words : Model {
  static constexpr int kWords = 20;
  Cell<Tensor()> start;
  Cell<Tensor(Tensor, Index)> next;
  Cell<Tensor(Tensor, Index)> loss;

  Words() : Model("words") {
    const Param embed = param("embed", {kWords, 12}, Initializer::uniform(1));
    const Param w = param("w", {12, 24}), out = param("out", {kWords, 12});
    start = cell("start", []() -> Tensor { return constant(0, {12}); });
    next = cell("next", {Shape{12}}, [=](Tensor h, Index word) -> Tensor {
      return tanh(matmul(w, concat(dropout(h, 0.3), dropout(row(embed, word), 0.2))));
    });
    loss = cell("loss", {Shape{12}}, [=](Tensor h, Index word) -> Tensor {
      return cross_entropy(matmul(out, h), word);
    });
  }
};

using Sentences = std::vector<std::vector<int>>;

Sentences sentences(std::size_t count) {
  Sentences result;
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<int>& words = result.emplace_back();
    for (std::size_t k = 0; k < 4 + i % 5; ++k)
      words.push_back(int((i * i + 3 * k + k * k * k) % Words::kWords));
  }
  return result;
}

/// The losses, by example; `in_turns` records a word of each sentence, then the next of each.
std::vector<std::vector<Call<Tensor>>> record(const Instances& g, const Words& model,
                                              const Sentences& all, bool in_turns) {
  std::vector<std::vector<Call<Tensor>>> losses(all.size());
  std::vector<Call<Tensor>> state(all.size());
  const auto word = [&](std::size_t i, std::size_t k) {
    if (k >= all[i].size()) return;
    g.begin_example(100 + i);
    state[i] = g(model.next, k == 0 ? g(model.start) : state[i], all[i][k]);
    losses[i].push_back(g(model.loss, state[i], all[i][(k + 1) % all[i].size()]));
    g.loss(losses[i].back());
  };
  if (in_turns)
    for (std::size_t k = 0; k < 9; ++k)
      for (std::size_t i = 0; i < all.size(); ++i) word(i, k);
  else
    for (std::size_t i = 0; i < all.size(); ++i)
      for (std::size_t k = 0; k < all[i].size(); ++k) word(i, k);
  return losses;
}

struct Turns {
  StepResult step;
  std::vector<float> losses;
  std::vector<std::vector<float>> gradients;
};

Turns run(Engine& engine, const Words& model, bool in_turns) {
  const Instances g = engine.instances();
  const auto losses = record(g, model, sentences(30), in_turns);
  Turns result{.step = engine.gradients(g), .losses = {}, .gradients = {}};
  if (result.step.statistics.parts == 1)
    for (const auto& example : losses)
      for (const Call<Tensor>& loss : example) result.losses.push_back(engine.value(loss)[0]);
  for (const ir::Param& param : engine.program().params)
    result.gradients.push_back(engine.gradient(param.name));
  return result;
}

void expect_same(const Turns& actual, const Turns& expected) {
  EXPECT_EQ(actual.losses, expected.losses);
  EXPECT_NEAR(actual.step.loss, expected.step.loss, 1e-12);
  for (std::size_t p = 0; p < expected.gradients.size(); ++p)
    for (std::size_t i = 0; i < expected.gradients[p].size(); ++i)
      ASSERT_NEAR(actual.gradients[p][i], expected.gradients[p][i], 1e-5) << p << " at " << i;
}

TEST(ExamplesInTurns, AreThoseRecordedOneAfterAnother) {
  const Words model;
  for (const auto granularity : {ir::Granularity::cell, ir::Granularity::op})
    for (const bool share : {false, true})
      for (const int threads : {1, 2}) {
        SCOPED_TRACE(testing::Message() << int(granularity) << share << threads);
        EngineOptions settings = options({"", "phase", "", threads, granularity});
        settings.share = share;
        Engine engine(model.program(), settings);
        const Turns expected = run(engine, model, false), actual = run(engine, model, true);
        EXPECT_GT(expected.losses.size(), 100U);
        expect_same(actual, expected);
      }
}

TEST(ExamplesInTurns, AreSplitByExamples) {
  const Words model;
  Engine whole(model.program(), options({"", "phase", "", 1}));
  Turns expected = run(whole, model, false);
  EngineOptions settings = options({"", "phase", "", 1});
  settings.memory_limit = expected.step.statistics.peak_bytes * 2 / 3;
  Engine engine(model.program(), settings);
  const Turns one_by_one = run(engine, model, false), in_turns = run(engine, model, true);
  EXPECT_GT(one_by_one.step.statistics.parts, 1);
  // Losses that are far apart belong together: what they depend on runs once.
  EXPECT_EQ(in_turns.step.statistics.parts, one_by_one.step.statistics.parts);
  EXPECT_EQ(in_turns.step.statistics.instances, one_by_one.step.statistics.instances);
  expected.losses.clear();
  expect_same(in_turns, expected);
}

TEST(ExamplesInTurns, CountOnceEach) {
  const Words model;
  Engine engine(model.program(), options({"", "phase", "", 1}));
  const Instances g = engine.instances();
  const auto state = g(model.start);
  for (const int example : {0, 1, 0, 1, 1, 0}) {
    g.begin_example(std::uint64_t(example));
    g.loss(g(model.loss, state, 3));
  }
  EXPECT_EQ(g.recorder().graph().examples(), 2U);
  EXPECT_NEAR(engine.forward(g).loss, 3 * std::log(20.0), 1e-5);
}

/// A sum of weighted rows, the weights outside of cells.
TEST(NumbersOutsideCells, AreDataOfTheMinibatch) {
  Model model("rows");
  constexpr int width = 256;
  const Param e = model.param("e", {4, width}, Initializer::uniform(0.1));
  const auto leaf = model.cell("leaf", [=](Index i) -> Tensor { return row(e, i); });
  for (const auto granularity : {ir::Granularity::cell, ir::Granularity::op})
    for (const bool share : {false, true}) {
      std::int64_t limit = 0;
      for (const bool limited : {false, true}) {
        SCOPED_TRACE(testing::Message() << int(granularity) << share << limited);
        EngineOptions settings = options({"", "phase", "", 2, granularity});
        settings.share = share;
        settings.memory_limit = limited ? limit : 0;
        Engine engine(model.program(), settings);
        std::size_t cells = 0;
        for (int step = 0; step < 3; ++step) {
          const Instances g = engine.instances();
          std::vector<double> times(4, 0.0);
          double expected = 0;
          for (int i = 0; i < 100; ++i) {
            const double number = 0.25 * (i - 50 + 7 * step);
            g.loss(2.0 - sum(number * g(leaf, i % 4)));
            times[std::size_t(i % 4)] -= number;
            double sum = 0;
            for (int j = 0; j < width; ++j)
              sum += engine.param("e")[std::size_t(i % 4 * width + j)];
            expected += 2 - number * sum;
          }
          const StepResult result = engine.gradients(g, 1.0);
          EXPECT_NEAR(result.loss, expected, 1e-3);
          EXPECT_EQ(result.statistics.parts > 1, limited);
          const std::vector<float> gradient = engine.gradient("e");
          for (std::size_t i = 0; i < gradient.size(); ++i)
            EXPECT_NEAR(gradient[i], times[i / width], 1e-4);
          // Cells and kernels are those of the first step.
          EXPECT_EQ(result.statistics.compilations > 0, step == 0);
          if (step > 0) {
            EXPECT_EQ(g.recorder().program().cells.size(), cells);
          }
          cells = g.recorder().program().cells.size();
          if (!limited) limit = result.statistics.peak_bytes * 3 / 4;
        }
      }
    }
}

TEST(NumbersOutsideCells, AreReadInTheMiddleAndCheckedForNaN) {
  const Words model;
  EngineOptions settings = options({"", "agenda", "", 1});
  Engine engine(model.program(), settings);
  const Instances g = engine.instances(Mode::inference);
  auto state = g(model.next, g(model.start), 3);
  const std::vector<float> first(engine.value(state).begin(), engine.value(state).end());
  for (int i = 1; i <= 3; ++i) {
    state = state * double(i) + constant(0.5, {12});
    const auto value = engine.value(state);
    for (std::size_t j = 0; j < 12; ++j) {
      float expected = first[j];
      for (int k = 1; k <= i; ++k) expected = expected * float(k) + 0.5F;
      EXPECT_NEAR(value[j], expected, 1e-5);
    }
  }
  settings.debug.check_finite = true;
  Engine checked(model.program(), settings);
  const Instances nan = checked.instances(Mode::inference);
  nan.begin_example(5);
  nan(model.start) * NAN;
  const std::string text = refusal([&] { checked.forward(nan); });
  for (const char* part : {"cell 'number'", "op 'input'", "example 5"})
    EXPECT_NE(text.find(part), std::string::npos) << text;
}

/// Variational dropout: one mask for all words of a sentence.
TEST(DropoutOfAConstant, IsDrawnOnceACall) {
  Model model("masks");
  const auto mask = model.cell("mask", []() -> Tensor { return dropout(constant(1, {40}), 0.5); });
  const auto twice = model.cell("twice", []() -> Tensor {
    const Tensor drawn = dropout(constant(3, {40}), 0.5);
    return drawn - drawn + (drawn - 1.0) * constant(2, {40});
  });
  const Param w = model.param("w", {40, 40}, Initializer::constant(1));
  const auto product =
      model.cell("product", [=]() -> Tensor { return matmul(w, dropout(constant(1, {40}), 0.5)); });
  for (const auto granularity : {ir::Granularity::cell, ir::Granularity::op}) {
    Engine engine(model.program(), options({"", "phase", "", 2, granularity}));
    std::vector<std::vector<float>> masks;
    const Instances g = engine.instances();
    std::vector<Call<Tensor>> calls;
    for (const std::uint64_t example : {1, 2, 1}) {
      g.begin_example(example);
      calls.push_back(g(mask));
    }
    g.begin_example(4);
    const auto drawn = g(twice), sum = g(product);
    for (const Call<Tensor>& call : calls)
      masks.emplace_back(engine.value(call).begin(), engine.value(call).end());
    for (const auto& of : masks) {
      const auto zeros = std::ranges::count(of, 0.F), kept = std::ranges::count(of, 2.F);
      EXPECT_EQ(zeros + kept, 40);
      EXPECT_GT(zeros, 5);
      EXPECT_GT(kept, 5);
    }
    EXPECT_NE(masks[0], masks[1]);
    EXPECT_NE(masks[0], masks[2]) << "a call of its own";
    std::vector<float> values(engine.value(drawn).begin(), engine.value(drawn).end());
    EXPECT_EQ(std::ranges::count(values, -2.F) + std::ranges::count(values, 10.F), 40);
    const auto sums = engine.value(sum);
    EXPECT_EQ(std::ranges::count(sums, sums[0]), 40);
    EXPECT_NE(sums[0], 40.F);

    const Instances inference = engine.instances(Mode::inference);
    EXPECT_EQ(engine.value(inference(mask))[7], 1.F);
    EXPECT_EQ(engine.value(inference(twice))[7], 4.F);
  }
}

TEST(Minibatch, EndsWhenTheNextOneBegins) {
  const Words model;
  Engine engine(model.program(), options({"", "phase", "", 1}));
  StandardOptimizer optimizer({.rule = {}});
  const Instances old = engine.instances();
  const auto state = old(model.start);
  const Instances fresh = engine.instances();
  const std::string ended =
      "the Instances of an earlier minibatch are used: they end when the next one begins";
  EXPECT_EQ(refusal([&] { old(model.start); }), ended);
  EXPECT_EQ(refusal([&] { old.begin_example(7); }), ended);
  EXPECT_EQ(refusal([&] { old.loss(state); }), ended);
  EXPECT_EQ(refusal([&] { old.size(); }), ended);
  EXPECT_EQ(refusal([&] { engine.forward(old); }), ended);
  EXPECT_EQ(refusal([&] { engine.gradients(old); }), ended);
  EXPECT_EQ(refusal([&] { engine.train_step(old, optimizer); }), ended);
  EXPECT_EQ(refusal([&] { engine.forecast_bytes(old); }), ended);
  EXPECT_EQ(fresh.size(), 0U);
  EXPECT_EQ(fresh.recorder().graph().examples(), 0U);
  Engine other(model.program(), options({"", "phase", "", 1}));
  EXPECT_EQ(refusal([&] { other.forward(fresh); }), "the minibatch belongs to another engine");
}

TEST(Minibatch, IsOnePartHoweverOftenItWasAsked) {
  const Words model;
  Engine engine(model.program(), options({"", "phase", "", 1}));
  for (const Mode mode : {Mode::training, Mode::inference}) {
    const Instances g = engine.instances(mode);
    EXPECT_EQ(engine.forward(g).statistics.parts, 0);
    auto state = g(model.start);
    for (int i = 0; i < 4; ++i) engine.value(state = g(model.next, state, i));
    EXPECT_EQ(engine.forward(g).statistics.parts, 1);
    if (mode == Mode::inference) continue;
    g.loss(g(model.loss, state, 1));
    EXPECT_EQ(engine.gradients(g).statistics.parts, 1);
    EXPECT_EQ(engine.gradients(g).statistics.parts, 1);
  }
}

}  // namespace
}  // namespace espalier::test
