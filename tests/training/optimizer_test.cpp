// Update rules against numbers worked out by hand, sparse rows against dense gradients, and the
// refusals.
#include "training/optimizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/data/support.h"
#include "tests/support/reference_examples.h"
#include "training/update_rule.h"

namespace espalier {
namespace {

using data::refusal;
using Floats = std::vector<float>;

Floats random_floats(std::size_t count, std::uint64_t seed) {
  test::ReferenceRandom random(seed);
  Floats values(count);
  for (float& value : values) value = static_cast<float>(random.uniform(-1, 1));
  return values;
}

/// The values of one param after steps with the given gradients.
Floats after(const OptimizerOptions& options, Floats values, const std::vector<Floats>& gradients) {
  StandardOptimizer optimizer(options);
  const StoredParam param{
      .name = "w", .shape = {static_cast<std::int64_t>(values.size())}, .size = values.size()};
  for (const Floats& gradient : gradients) {
    double squares = 0;
    for (float g : gradient) squares += double{g} * g;
    optimizer.prepare({&param, 1});
    optimizer.begin_step({.norm = std::sqrt(squares)});
    optimizer.update(0, 0, values, gradient);
  }
  return values;
}

TEST(Optimizer, SgdSubtractsTheScaledGradient) {
  EXPECT_EQ(after({.rule = {.lr = 0.5}}, {1, 2}, {{2, -4}}), (Floats{0, 4}));
}

TEST(Optimizer, MomentumSumsGradients) {
  // m: 1, then 0.5 + 1 = 1.5, then 0.75; p: 10 - 2, - 3, - 1.5.
  EXPECT_EQ(after({.rule = {.lr = 2, .momentum = 0.5}}, {10}, {{1}, {1}, {0}}), (Floats{3.5}));
}

TEST(Optimizer, L2AddsTheValueToTheGradient) {
  EXPECT_EQ(after({.rule = {.lr = 0.5, .l2 = 0.25}}, {4}, {{1}}), (Floats{3}));
}

TEST(Optimizer, AdagradDividesByTheRootOfTheSum) {
  OptimizerOptions options{.rule = update_rule("adagrad")};
  options.rule.lr = 1;
  // s: 9, then 25; p: 10 - 3/3, - 4/5.
  EXPECT_FLOAT_EQ(after(options, {10}, {{3}, {-4}})[0], 10 - 1 + 0.8f);
}

TEST(Optimizer, AdamsFirstStepIsItsRate) {
  OptimizerOptions options{.rule = update_rule("adam")};
  options.rule.lr = 0.25;
  const Floats values = after(options, {1, 1, 1}, {{100, -0.01f, 0}});
  EXPECT_FLOAT_EQ(values[0], 0.75f);
  EXPECT_FLOAT_EQ(values[1], 1.25f);
  EXPECT_EQ(values[2], 1);
}

TEST(Optimizer, AdamsSecondStepIsBiasCorrected) {
  OptimizerOptions options{.rule = update_rule("adam")};
  options.rule.lr = 1;
  // m̂ = (0.9·0.1·1 + 0.1·2) / 0.19 and v̂ = (0.999·0.001·1 + 0.001·4) / 0.001999.
  const double mean = 0.29 / 0.19, square = 0.004999 / 0.001999;
  EXPECT_NEAR(after(options, {0}, {{1}, {2}})[0], -1 - mean / std::sqrt(square), 1e-6);
}

TEST(Optimizer, ClipsByTheNormOfAllGradients) {
  EXPECT_EQ(after({.rule = {.lr = 1}, .clip_norm = 2.5}, {0, 0}, {{3, -4}}), (Floats{-1.5, 2}));
  EXPECT_EQ(after({.rule = {.lr = 1}, .clip_norm = 5}, {0, 0}, {{3, -4}}), (Floats{-3, 4}));
}

TEST(Optimizer, ScalesWhatTheEngineLeftUnscaled) {
  StandardOptimizer optimizer({.rule = {.lr = 1}, .clip_norm = 2});
  const StoredParam param{.name = "w", .shape = {1}, .size = 1};
  optimizer.prepare({&param, 1});
  optimizer.begin_step({.norm = 4, .scale = 0.25});
  Floats values = {0};
  optimizer.update(0, 0, values, Floats{16});
  EXPECT_EQ(values[0], -2);
}

TEST(Optimizer, TheRateFactorScalesEveryRate) {
  OptimizerOptions options{.rule = {.lr = 1}};
  set_embeddings(options, std::vector<std::string>{"embed"}, 4.0);
  StandardOptimizer optimizer(options);
  const StoredParam params[] = {{"w", {1}, 1}, {"embed", {1, 1}, 1}};
  optimizer.prepare(params);
  optimizer.set_rate_factor(0.5);
  optimizer.begin_step({.norm = 1});
  Floats w = {0}, embed = {0};
  optimizer.update(0, 0, w, Floats{1});
  optimizer.update(1, 0, embed, Floats{1});
  EXPECT_EQ(w[0], -0.5f);
  EXPECT_EQ(embed[0], -2);
}

TEST(Optimizer, EmbeddingsHaveNoL2) {
  OptimizerOptions options{.rule = update_rule("adagrad")};
  options.rule.l2 = 0.1;
  const std::vector<std::string> names = {"embed"};
  OptimizerOptions own = options;
  set_embeddings(options, names, std::nullopt);
  EXPECT_EQ(options.overrides.at(0).second, update_rule("adagrad"));
  set_embeddings(own, names, 0.1);
  EXPECT_EQ(own.overrides.at(0).second, (UpdateRule{.lr = 0.1}));
}

std::vector<OptimizerOptions> every_rule() {
  std::vector<OptimizerOptions> result;
  for (const OptimizerInfo& info : optimizers()) {
    for (double l2 : {0.0, 0.01}) {
      for (double momentum : {0.0, 0.9}) {
        OptimizerOptions options{.rule = info.defaults};
        options.rule.l2 = l2;
        options.rule.momentum = momentum;
        result.push_back(options);
      }
    }
  }
  return result;
}

TEST(Optimizer, RowsWithoutGradientAreRowsWithGradientZero) {
  constexpr std::size_t kRows = 9, kWidth = 3, kSplit = 4;
  const StoredParam param{.name = "embed", .shape = {kRows, kWidth}, .size = kRows * kWidth};
  for (const OptimizerOptions& options : every_rule()) {
    StandardOptimizer dense(options), sparse(options);
    Floats dense_values = random_floats(param.size, 1), sparse_values = dense_values;
    const std::vector<std::vector<std::int32_t>> touched = {{0, 3, 4, 8}, {5}, {}, {1, 2}};
    for (std::size_t step = 0; step < touched.size(); ++step) {
      const std::vector<std::int32_t>& rows = touched[step];
      const Floats row_gradients = random_floats(rows.size() * kWidth, step);
      Floats gradient(param.size, 0.0f);
      for (std::size_t k = 0; k < rows.size(); ++k)
        std::copy_n(&row_gradients[k * kWidth], kWidth, &gradient[rows[k] * kWidth]);

      dense.prepare({&param, 1});
      dense.begin_step({.norm = 1, .scale = 0.5});
      dense.update(0, 0, dense_values, gradient);

      sparse.prepare({&param, 1});
      sparse.begin_step({.norm = 1, .scale = 0.5});
      std::size_t low = 0;
      while (low < rows.size() && rows[low] < static_cast<int>(kSplit)) ++low;
      const std::span<float> values = sparse_values;
      const std::span gradients = row_gradients;
      sparse.update_rows(0, kSplit, kWidth, values.subspan(kSplit * kWidth),
                         std::span(rows).subspan(low), gradients.subspan(low * kWidth));
      sparse.update_rows(0, 0, kWidth, values.first(kSplit * kWidth), std::span(rows).first(low),
                         gradients.first(low * kWidth));
    }
    EXPECT_EQ(sparse_values, dense_values);
  }
}

TEST(Optimizer, DoesNotDependOnHowTheWorkIsSplit) {
  constexpr std::size_t kSize = 1000;
  const StoredParam param{.name = "w", .shape = {kSize}, .size = kSize};
  for (const OptimizerOptions& options : every_rule()) {
    StandardOptimizer whole(options), split(options);
    Floats whole_values = random_floats(kSize, 2), split_values = whole_values;
    for (std::uint64_t step = 0; step < 3; ++step) {
      const Floats gradient = random_floats(kSize, 10 + step);
      whole.prepare({&param, 1});
      whole.begin_step({.norm = 1});
      whole.update(0, 0, whole_values, gradient);
      split.prepare({&param, 1});
      split.begin_step({.norm = 1});
      for (std::size_t begin = 0; begin < kSize;) {
        const std::size_t count = std::min<std::size_t>(kSize - begin, 1 + (begin * 7 + step) % 61);
        split.update(0, begin, std::span(split_values).subspan(begin, count),
                     std::span(gradient).subspan(begin, count));
        begin += count;
      }
    }
    EXPECT_EQ(split_values, whole_values);
  }
}

TEST(Optimizer, PaddingStaysZero) {
  for (const OptimizerOptions& options : every_rule())
    EXPECT_EQ(after(options, {0}, {{0}, {0}, {0}}), Floats{0});
}

TEST(Optimizer, SaysWhetherRowsWithoutGradientChange) {
  const auto every = [](const UpdateRule& rule) {
    StandardOptimizer optimizer({.rule = rule});
    const StoredParam param{.name = "embed", .shape = {2, 1}, .size = 2};
    optimizer.prepare({&param, 1});
    return optimizer.updates_every_row(0);
  };
  EXPECT_FALSE(every({.lr = 0.1}));
  EXPECT_FALSE(every(update_rule("adagrad")));
  EXPECT_TRUE(every({.lr = 0.1, .momentum = 0.9}));
  EXPECT_TRUE(every({.lr = 0.1, .l2 = 0.1}));
  EXPECT_TRUE(every(update_rule("adam")));
}

TEST(Optimizer, ItsStateCanBeTakenAndPutBack) {
  const StoredParam param{.name = "w", .shape = {4}, .size = 4};
  for (const OptimizerOptions& options : every_rule()) {
    StandardOptimizer first(options), second(options);
    Floats values = random_floats(4, 3);
    const auto step = [&](StandardOptimizer& optimizer, Floats& to, std::uint64_t seed) {
      optimizer.prepare({&param, 1});
      optimizer.begin_step({.norm = 1});
      optimizer.update(0, 0, to, random_floats(4, seed));
    };
    step(first, values, 1);
    step(first, values, 2);
    second.prepare({&param, 1});
    second.set_steps(first.steps());
    const std::vector<OptimizerBuffer> from = first.buffers(), to = second.buffers();
    ASSERT_EQ(from.size(), to.size());
    for (std::size_t i = 0; i < from.size(); ++i) {
      EXPECT_EQ(from[i].name, to[i].name);
      std::ranges::copy(from[i].values, to[i].values.begin());
    }
    Floats resumed = values;
    step(first, values, 3);
    step(second, resumed, 3);
    EXPECT_EQ(resumed, values);
  }
}

TEST(Optimizer, RefusesWhatItCannotUse) {
  const auto has = [](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  has(refusal([] { update_rule("adam_w"); }), "one of sgd, adagrad, adam; nearest: 'adam'");
  has(refusal([] { StandardOptimizer({.rule = {.lr = -1}}); }), "found lr = -1");
  has(refusal([] { StandardOptimizer({.rule = {.lr = NAN}}); }), "found lr = nan");
  has(refusal([] { StandardOptimizer({.rule = {.momentum = 1}}); }), "0 ≤ momentum < 1");
  has(refusal([] { StandardOptimizer({.rule = {}, .clip_norm = -1}); }), "clip norm = -1");
  has(refusal([] { StandardOptimizer({.rule = {}, .overrides = {{"u", {.l2 = -1}}}}); }),
      "optimizer of param 'u': found l2 = -1");

  const StoredParam params[] = {{"embed", {2}, 2}, {"u", {1}, 1}};
  OptimizerOptions options{.rule = {}};
  options.overrides.emplace_back("embde", UpdateRule{});
  has(refusal([&] { StandardOptimizer(options).prepare(params); }), "nearest: 'embed'");
  StandardOptimizer optimizer({.rule = {}});
  optimizer.prepare(params);
  has(refusal([&] { optimizer.prepare({params, 1}); }), "another model");
  has(refusal([&] { optimizer.begin_step({.norm = NAN}); }), "diverged");
  EXPECT_EQ(optimizer.steps(), 0);
}

/// An optimizer is one record: here one of a user's own, which keeps the last gradient.
TEST(Optimizer, TakesARecordOfTheUsersOwn) {
  const OptimizerInfo mine{
      .name = "mine",
      .summary = "p -= lr · (g + last g)",
      .defaults = {},
      .divides = false,
      .state = [](const UpdateRule&) { return std::vector<std::string_view>{"mine.last"}; },
      .updates_every_row = [](const UpdateRule&) { return true; },
      .update =
          [](const UpdateNumbers<float>& n, std::size_t size, float* p, const float* g,
             std::span<float* const> state) {
            for (std::size_t i = 0; i < size; ++i) {
              p[i] -= n.rate * (n.regularised(g[i], p[i]) + state[0][i]);
              state[0][i] = g[i];
            }
          },
      .express = nullptr};
  StandardOptimizer optimizer({.rule = {.optimizer = &mine, .lr = 0.5}});
  const std::vector<StoredParam> params = {{.name = "w", .shape = {2}, .size = 2}};
  std::vector<float> values = {1, 2};
  const std::vector<float> gradient = {1, -1};
  for (int step = 0; step < 2; ++step) {
    optimizer.prepare(params);
    optimizer.begin_step({.norm = 1});
    optimizer.update(0, 0, values, gradient);
  }
  EXPECT_EQ(values, (std::vector<float>{-0.5, 3.5}));
  EXPECT_EQ(optimizer.expression(), nullptr);
  ASSERT_EQ(optimizer.buffers().size(), 1u);
  EXPECT_EQ(optimizer.buffers()[0].name, "mine.last");
}

}  // namespace
}  // namespace espalier
