// Memory: what a step will hold is forecast, and a limit splits a minibatch without changing its
// bits forward or its gradients beyond the order of summation.
#include <gtest/gtest.h>

#include <cmath>

#include "ir/record/part.h"
#include "ir/record/recorder.h"
#include "scheduler/strategy.h"
#include "tests/runtime/engine_runs.h"
#include "tests/support/refusal.h"
#include "training/engine_task.h"
#include "training/optimizer.h"

namespace espalier::test {
namespace {

using models::TreeModel;

void record(const Instances& minibatch, TreeModel& model, const std::vector<data::Tree>& trees) {
  for (std::size_t i = 0; i < trees.size(); ++i) {
    minibatch.begin_example(i);
    model.record_loss(minibatch, trees[i]);
  }
}

void expect_close(std::int64_t predicted, std::int64_t held) {
  EXPECT_LE(double(predicted), 1.1 * double(held));
  EXPECT_GE(double(predicted), 0.9 * double(held));
}

TEST(PredictedBytes, AreThoseHeldAfterTheStep) {
  for (const models::ModelInfo& info : models::models()) {
    for (const scheduler::StrategyInfo& strategy : scheduler::strategies()) {
      for (const auto granularity : {ir::Granularity::cell, ir::Granularity::op}) {
        const std::string name(info.name);
        const auto model = make_model(name, 12, 20, 0.3);
        Engine engine(model->program(),
                      options({name, std::string(strategy.name), "", 1, granularity}));
        // The engine is new, then too small, then large enough.
        for (const int trees : {3, 40, 10}) {
          SCOPED_TRACE(testing::Message() << name << " " << strategy.name << " " << trees);
          const auto forest = random_forest(name, 3, trees);
          const Instances inference = engine.instances(Mode::inference);
          record(inference, *model, forest);
          std::int64_t predicted = engine.forecast_bytes(inference);
          EXPECT_EQ(engine.forecast_bytes(inference), predicted);
          expect_close(predicted, engine.forward(inference).statistics.bytes_held);

          const Instances training = engine.instances();
          record(training, *model, forest);
          predicted = engine.forecast_bytes(training);
          const StepStatistics step = engine.gradients(training).statistics;
          expect_close(predicted, step.bytes_held);
          expect_close(predicted, step.peak_bytes);
          EXPECT_EQ(step.parts, 1);
        }
      }
    }
  }
}

TEST(PredictedBytes, AreThoseOfAMinibatchThatRunsInTwoParts) {
  const auto model = make_model("tree_lstm", 12, 20);
  const auto trees = random_forest("tree_lstm", 3, 30);
  Engine engine(model->program(), options({"", "phase", "", 1}));
  const Instances minibatch = engine.instances();
  std::int64_t predicted = 0;
  for (std::size_t i = 0; i < trees.size(); ++i) {
    minibatch.begin_example(i);
    model->record_loss(minibatch, trees[i]);
    // A prediction changes nothing; a value runs what there is.
    predicted = engine.forecast_bytes(minibatch);
    if (i == 10) engine.value(minibatch.recorder().handle(0));
  }
  const StepResult result = engine.gradients(minibatch);
  expect_close(predicted, result.statistics.peak_bytes);

  Engine whole(model->program(), options({"", "phase", "", 1}));
  const Outcome expected = outcome(whole, *model, trees, all(trees));
  EXPECT_EQ(result.loss, expected.loss);
  for (std::size_t p = 0; p < expected.gradients.size(); ++p) {
    const auto gradient = engine.gradient(engine.program().params[p].name);
    for (std::size_t i = 0; i < gradient.size(); ++i)
      EXPECT_NEAR(gradient[i], expected.gradients[p][i], 1e-5);
  }
}

/// The gradients of both, up to the order of summation over `terms` instances.
void expect_same_sums(const std::vector<std::vector<float>>& actual,
                      const std::vector<std::vector<float>>& expected, std::size_t terms) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t p = 0; p < expected.size(); ++p) {
    ASSERT_EQ(actual[p].size(), expected[p].size());
    double largest = 0;
    for (const float x : expected[p]) largest = std::max(largest, std::abs(double(x)));
    for (std::size_t i = 0; i < expected[p].size(); ++i)
      EXPECT_NEAR(actual[p][i], expected[p][i], double(terms) * 0x1p-24 * largest)
          << "param " << p << " at " << i;
  }
}

std::vector<std::vector<float>> gradients_of(const Engine& engine) {
  std::vector<std::vector<float>> gradients;
  for (const ir::Param& param : engine.program().params)
    gradients.push_back(engine.gradient(param.name));
  return gradients;
}

TEST(MemoryLimit, SplitsAMinibatch) {
  for (const models::ModelInfo& info : models::models()) {
    for (const auto granularity : {ir::Granularity::cell, ir::Granularity::op}) {
      const std::string name(info.name);
      SCOPED_TRACE(name);
      const auto model = make_model(name, 24, 48, 0.3);
      const auto trees = random_forest(name, 3, 60);
      EngineOptions settings = options({name, "phase", "", 2, granularity});
      Engine whole(model->program(), settings);
      const Instances minibatch = whole.instances();
      record(minibatch, *model, trees);
      const std::int64_t needed = whole.forecast_bytes(minibatch);
      const StepResult expected = whole.gradients(minibatch);

      for (const double share : {1.0, 0.7, 0.5}) {
        settings.memory_limit = std::int64_t(double(needed) * share);
        Engine engine(model->program(), settings);
        for (int repeat = 0; repeat < 2; ++repeat) {
          SCOPED_TRACE(testing::Message()
                       << share << " " << repeat << " op " << (granularity == ir::Granularity::op));
          const Instances parts = engine.instances();
          record(parts, *model, trees);
          const StepResult result = engine.gradients(parts);
          EXPECT_EQ(result.statistics.parts > 1, share < 1);
          EXPECT_LE(result.statistics.bytes_held, settings.memory_limit);
          EXPECT_LE(result.statistics.peak_bytes, settings.memory_limit);
          // Forward bits are the same, so is their sum in the same order.
          EXPECT_EQ(result.loss, expected.loss);
          EXPECT_NEAR(result.gradient_norm, expected.gradient_norm, 1e-5 * expected.gradient_norm);
          expect_same_sums(gradients_of(engine), gradients_of(whole),
                           minibatch.recorder().graph().size());
          if (share == 1) continue;
          EXPECT_NE(refusal([&] { engine.value(parts.recorder().handle(0)); }).find("in parts"),
                    std::string::npos);
        }
      }
    }
  }
}

TEST(MemoryLimit, LeavesTheUpdateOne) {
  const auto model = make_model("tree_lstm", 12, 20, 0.3);
  const auto trees = random_forest("tree_lstm", 3, 40);
  std::vector<std::vector<float>> params[2];
  std::int64_t needed = 0;
  for (const int split : {0, 1}) {
    EngineOptions settings = options({"", "phase", "", 1});
    settings.memory_limit = split ? needed / 2 : 0;
    Engine engine(model->program(), settings);
    randomize(engine, 4);
    StandardOptimizer optimizer({.rule = update_rule("sgd")});
    for (int step = 0; step < 3; ++step) {
      const Instances minibatch = engine.instances();
      record(minibatch, *model, trees);
      if (!split) needed = engine.forecast_bytes(minibatch);
      const StepResult result = engine.train_step(minibatch, optimizer);
      EXPECT_EQ(result.statistics.parts > 1, split == 1);
    }
    EXPECT_EQ(engine.step(), 3U);
    EXPECT_EQ(optimizer.steps(), 3);
    for (const ir::Param& param : engine.program().params) {
      const auto values = engine.param(param.name);
      params[split].emplace_back(values.begin(), values.end());
    }
  }
  expect_same_sums(params[1], params[0], 1000);
}

/// A leaf that all examples share, and a loss for each.
struct SharedLeaf : Model {
  Cell<Tensor(Index)> leaf;
  Cell<Tensor(Tensor, Index)> loss;

  SharedLeaf() : Model("shared_leaf") {
    const Param embed = param("embed", {50, 40}, Initializer::uniform(1));
    const Param out = param("out", {7, 40});
    leaf = cell("leaf", [=](Index i) -> Tensor { return tanh(row(embed, i)); });
    loss = cell("loss", {Shape{40}}, [=](Tensor x, Index label) -> Tensor {
      return cross_entropy(matmul(out, x), label);
    });
  }
};

TEST(MemoryLimit, SplitsDagsAcrossExamplesAndLossesWithoutExamples) {
  const SharedLeaf model;
  for (const bool examples : {true, false}) {
    std::vector<std::vector<float>> expected;
    std::int64_t needed = 0;
    for (const int split : {0, 1}) {
      EngineOptions settings = options({"", "agenda", "", 1});
      settings.memory_limit = split ? needed * 3 / 4 : 0;
      Engine engine(model.program(), settings);
      const Instances minibatch = engine.instances();
      std::vector<Call<Tensor>> leaves;
      for (int word = 0; word < 50; ++word) leaves.push_back(minibatch(model.leaf, word));
      for (int i = 0; i < 400; ++i) {
        if (examples) minibatch.begin_example(std::uint64_t(i));
        minibatch.loss(minibatch(model.loss, leaves[std::size_t(i % 50)], i % 7));
      }
      needed = engine.forecast_bytes(minibatch);
      const StepResult result = engine.gradients(minibatch);
      EXPECT_EQ(result.statistics.parts > 1, split == 1);
      if (split)
        expect_same_sums(gradients_of(engine), expected, 400);
      else
        expected = gradients_of(engine);
    }
  }
}

TEST(MemoryLimit, SaysWhatDoesNotFit) {
  const auto model = make_model("tree_lstm", 12, 20);
  const auto trees = random_forest("tree_lstm", 3, 20);
  EngineOptions settings = options({"", "phase", "", 1});
  settings.memory_limit = 10'000;
  EXPECT_NE(refusal([&] { Engine(model->program(), settings); }).find("the model with its grad"),
            std::string::npos);
  settings.memory_limit = -1;
  EXPECT_NE(refusal([&] { Engine(model->program(), settings); }).find("negative"),
            std::string::npos);

  Engine unlimited(model->program(), options({"", "phase", "", 1}));
  const Instances one = unlimited.instances();
  record(one, *model, {trees[0]});
  settings.memory_limit = unlimited.forecast_bytes(one) - 5'000;
  Engine engine(model->program(), settings);
  const Instances minibatch = engine.instances();
  record(minibatch, *model, trees);
  EXPECT_NE(refusal([&] { engine.gradients(minibatch); }).find("one example takes"),
            std::string::npos);
  EXPECT_NE(refusal([&] { engine.forward(minibatch); }).find("what has been recorded takes"),
            std::string::npos);
}

/// The first two sizes in `text`, the limit and what is needed.
void expect_more_than_the_limit(const std::string& text) {
  std::vector<double> kib;
  for (std::size_t at = 0; kib.size() < 2 && (at = text.find("iB", at + 1)) != text.npos;) {
    const std::size_t begin = text.rfind(' ', text.rfind(' ', at) - 1) + 1;
    kib.push_back(std::stod(text.substr(begin)) * (text[at - 1] == 'M' ? 1024 : 1));
  }
  ASSERT_EQ(kib.size(), 2u) << text;
  EXPECT_GE(kib[1], kib[0]) << text;
}

TEST(MemoryLimit, IsNeverExceededWhateverItIs) {
  for (const models::ModelInfo& info : models::models()) {
    const std::string name(info.name);
    const auto model = make_model(name, 12, 16, 0.3);
    const auto trees = random_forest(name, 3, 80);
    Engine unlimited(model->program(), options({name, "phase", "", 1}));
    const Instances whole = unlimited.instances();
    record(whole, *model, trees);
    const std::int64_t needed = unlimited.forecast_bytes(whole);
    int ran = 0, refused = 0, parts = 0;
    for (int percent = 8; percent <= 110; percent += 6) {
      EngineOptions settings = options({name, percent % 4 ? "phase" : "unbatched", "", 1});
      settings.memory_limit = needed * percent / 100;
      SCOPED_TRACE(testing::Message() << name << " " << percent << " %");
      Engine engine(model->program(), settings);
      StandardOptimizer optimizer({.rule = {.lr = 0}});
      const auto step = engine_step(
          engine, optimizer, [](int count) { return count; },
          [&](const Instances& minibatch, int, int i) {
            minibatch.begin_example(std::uint64_t(i));
            model->record_loss(minibatch, trees[std::size_t(i)]);
          });
      for (const int count : {20, 80, 5, 80}) {
        const std::string text = refusal([&] {
          const StepStatistics statistics = step(count).statistics;
          EXPECT_LE(statistics.peak_bytes, settings.memory_limit);
          ++ran;
          parts += statistics.parts;
        });
        if (text != "(nothing thrown)") {
          ++refused;
          expect_more_than_the_limit(text);
        }
        // Values are asked for in between; what there is fits or not.
        const Instances values = engine.instances(Mode::inference);
        refusal([&] {
          for (int i = 0; i < count && !engine.recorded_enough(); ++i) {
            record(values, *model, {trees[std::size_t(i)]});
            if (i % 5 == 0) engine.value(values.recorder().handle(0));
          }
          engine.forward(values);
        });
      }
      const Instances last = engine.instances();
      EXPECT_LE(engine.forward(last).statistics.peak_bytes, settings.memory_limit);
    }
    EXPECT_GT(ran, 30);
    EXPECT_GT(parts, 2 * ran);
    EXPECT_GT(refused, 0);
  }
}

TEST(MemoryLimit, SaysWhatOtherExamplesTake) {
  const auto model = make_model("tree_lstm", 12, 20);
  const auto trees = random_forest("tree_lstm", 3, 2000);
  EngineOptions settings = options({"", "phase", "", 1});
  settings.memory_limit = 500'000;
  Engine engine(model->program(), settings);
  const Instances minibatch = engine.instances();
  record(minibatch, *model, trees);
  const std::string text = refusal([&] { engine.gradients(minibatch); });
  EXPECT_NE(text.find("the memory limit is 488.3 KiB, but "), std::string::npos) << text;
  // One of them fits alone.
  const Instances one = engine.instances();
  record(one, *model, {trees[0]});
  EXPECT_EQ(engine.gradients(one).statistics.parts, 1);
}

TEST(Accumulated, GradientsAreThoseOfTheWhole) {
  const auto model = make_model("tree_lstm", 12, 20, 0.3);
  const auto trees = random_forest("tree_lstm", 3, 30);
  Engine whole(model->program(), options({"", "phase", "", 1}));
  const Instances all_at_once = whole.instances();
  record(all_at_once, *model, trees);
  const StepResult expected = whole.gradients(all_at_once);

  Engine engine(model->program(), options({"", "phase", "", 2}));
  for (int repeat = 0; repeat < 2; ++repeat) {
    Instances minibatch = engine.instances();
    const auto record_some = [&](std::size_t first, std::size_t last) {
      minibatch = engine.instances();
      for (std::size_t i = first; i < last; ++i) {
        minibatch.begin_example(i);
        model->record_loss(minibatch, trees[i]);
      }
    };
    record_some(0, 7);  // forgotten
    engine.accumulate(minibatch, 1.0 / 30);
    engine.forget_accumulated();
    for (const std::size_t first : {0, 10, 20}) {
      record_some(first, first + 10);
      const bool last = first == 20;
      const StepResult part =
          last ? engine.gradients(minibatch, 1.0 / 30) : engine.accumulate(minibatch, 1.0 / 30);
      EXPECT_EQ(part.statistics.parts, 1);
      if (!last) continue;
      EXPECT_NEAR(part.gradient_norm, expected.gradient_norm, 1e-5 * expected.gradient_norm);
      EXPECT_EQ(part.loss, expected.loss);
    }
    expect_same_sums(gradients_of(engine), gradients_of(whole), 1000);
  }
}

TEST(Accumulated, GradientsReachWhatOnlyLaterMinibatchesCall) {
  Model model("late");
  const Param table = model.param("table", {9, 8}, Initializer::uniform(1));
  const Param w = model.param("w", {5, 8}, Initializer::uniform(1));
  const auto leaf = model.cell("leaf", [=](Index i) -> Tensor { return tanh(row(table, i)); });
  const auto loss = model.cell("loss", {Shape{8}}, [](Tensor x) -> Tensor { return sum(x * x); });
  // The first minibatch reads rows of the table; then the whole is read too, outside of cells.
  const auto record_part = [&](const Instances& g, int part) {
    for (int i = 0; i < 4; ++i) {
      const auto x = g(leaf, i + part);
      g.loss(part == 0 ? g(loss, x) : sum(matmul(w, x)) + 0.5 * sum(matmul(table, x)));
    }
  };
  Engine whole(model.program(), options({"", "phase", "", 1}));
  const Instances all_at_once = whole.instances();
  for (const int part : {0, 1}) record_part(all_at_once, part);
  whole.gradients(all_at_once, 1.0);

  Engine engine(model.program(), options({"", "phase", "", 2}));
  for (int repeat = 0; repeat < 2; ++repeat) {
    for (const int part : {0, 1}) {
      const Instances minibatch = engine.instances();
      record_part(minibatch, part);
      part == 0 ? engine.accumulate(minibatch, 1.0) : engine.gradients(minibatch, 1.0);
    }
    expect_same_sums(gradients_of(engine), gradients_of(whole), 100);
  }
}

TEST(Part, HoldsWhatItsLossesDependOn) {
  ir::InstanceGraph graph;
  const auto add = [&](ir::CellId cell, std::vector<ir::InstanceId> operands,
                       std::vector<std::int32_t> indices) {
    return graph.add(cell, operands, indices);
  };
  graph.begin_example(7);
  add(0, {}, {5});                        // 0
  add(0, {}, {6});                        // 1
  const auto first = add(1, {0, 1}, {});  // 2
  graph.begin_example(8);
  add(0, {}, {9});                         // 3: read by nobody
  const auto second = add(1, {1, 1}, {});  // 4
  const auto third = add(1, {4, 4}, {});   // 5

  ir::Part part;
  for (int repeat = 0; repeat < 2; ++repeat) {
    part.find(graph, std::vector{third});
    EXPECT_EQ(part.size().operands, 4U);
    EXPECT_EQ(part.size().indices, 1U);
    part.take(graph);
    ASSERT_EQ(part.graph().size(), 3U);
    EXPECT_EQ(part.graph().indices(0)[0], 6);
    EXPECT_EQ(part.graph().operands(1)[1], 0U);
    EXPECT_EQ(part.graph().operands(2)[0], 1U);
    EXPECT_EQ(part.losses()[0], 2U);
    EXPECT_EQ(part.graph().stream(0).example, 7U);
    EXPECT_EQ(part.graph().stream(2).example, 8U);
    EXPECT_EQ(part.graph().stream(2).call, graph.stream(third).call);
    part.find(graph, std::vector{first, first});
    part.take(graph);
    EXPECT_EQ(part.graph().size(), 3U);
    EXPECT_EQ(part.losses().size(), 2U);
  }
  ir::LossGroups groups;
  const std::vector in_turns{second, first, third, first};
  const auto grouped = groups.group(graph, in_turns);
  EXPECT_EQ(std::vector(grouped.begin(), grouped.end()),
            (std::vector{second, third, first, first}));
  EXPECT_EQ(ir::middle(graph, grouped), 2U);
  EXPECT_EQ(ir::middle(graph, std::vector{first, second, third}), 1U);
  EXPECT_EQ(ir::middle(graph, std::vector{first, first, first, second}), 3U);
  EXPECT_EQ(ir::middle(graph, std::vector{second, third}), 0U);
}

}  // namespace
}  // namespace espalier::test
