// Memory: what a step will hold is foretold, and a limit splits a minibatch without changing its
// bits forward or its gradients beyond the order of summation.
#include <gtest/gtest.h>

#include <cmath>

#include "ir/part.h"
#include "scheduler/strategy.h"
#include "tests/runtime/engine_runs.h"
#include "tests/support/refusal.h"
#include "training/optimizer.h"

namespace espalier::test {
namespace {

using models::TreeModel;

void record(const Instances& batch, TreeModel& model, const std::vector<data::Tree>& trees) {
  for (std::size_t i = 0; i < trees.size(); ++i) {
    batch.begin_example(i);
    model.record_loss(batch, trees[i]);
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
          const Instances inference = engine.instances(Pass::inference);
          record(inference, *model, forest);
          std::int64_t predicted = engine.predict_bytes(inference);
          EXPECT_EQ(engine.predict_bytes(inference), predicted);
          expect_close(predicted, engine.forward(inference).statistics.bytes_held);

          const Instances training = engine.instances();
          record(training, *model, forest);
          predicted = engine.predict_bytes(training);
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
  const Instances batch = engine.instances();
  std::int64_t predicted = 0;
  for (std::size_t i = 0; i < trees.size(); ++i) {
    batch.begin_example(i);
    model->record_loss(batch, trees[i]);
    // A prediction changes nothing; a value runs what there is.
    predicted = engine.predict_bytes(batch);
    if (i == 10) engine.value(batch.recorder().handle(0));
  }
  const StepResult result = engine.gradients(batch);
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
      const Instances batch = whole.instances();
      record(batch, *model, trees);
      const std::int64_t needed = whole.predict_bytes(batch);
      const StepResult expected = whole.gradients(batch);

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
          // Forward bits are the same, so is their sum in the same order.
          EXPECT_EQ(result.loss, expected.loss);
          EXPECT_NEAR(result.gradient_norm, expected.gradient_norm, 1e-5 * expected.gradient_norm);
          expect_same_sums(gradients_of(engine), gradients_of(whole),
                           batch.recorder().graph().size());
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
      const Instances batch = engine.instances();
      record(batch, *model, trees);
      if (!split) needed = engine.predict_bytes(batch);
      const StepResult result = engine.train_step(batch, optimizer);
      EXPECT_EQ(result.statistics.parts > 1, split == 1);
    }
    EXPECT_EQ(engine.step(), 3U);
    EXPECT_EQ(optimizer.steps(), 3);
    for (const ir::Param& param : engine.program().params) {
      const auto values = engine.parameter(param.name);
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
      const Instances batch = engine.instances();
      std::vector<Call<Tensor>> leaves;
      for (int word = 0; word < 50; ++word) leaves.push_back(batch(model.leaf, word));
      for (int i = 0; i < 400; ++i) {
        if (examples) batch.begin_example(std::uint64_t(i));
        batch.loss(batch(model.loss, leaves[std::size_t(i % 50)], i % 7));
      }
      needed = engine.predict_bytes(batch);
      const StepResult result = engine.gradients(batch);
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
  settings.memory_limit = unlimited.predict_bytes(one) - 5'000;
  Engine engine(model->program(), settings);
  const Instances batch = engine.instances();
  record(batch, *model, trees);
  EXPECT_NE(refusal([&] { engine.gradients(batch); }).find("one example takes"), std::string::npos);
  EXPECT_NE(refusal([&] { engine.forward(batch); }).find("what has been recorded takes"),
            std::string::npos);
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
    part.take(graph, std::vector{third});
    ASSERT_EQ(part.graph().size(), 3U);
    EXPECT_EQ(part.graph().indices(0)[0], 6);
    EXPECT_EQ(part.graph().operands(1)[1], 0U);
    EXPECT_EQ(part.graph().operands(2)[0], 1U);
    EXPECT_EQ(part.losses()[0], 2U);
    EXPECT_EQ(part.graph().stream(0).example, 7U);
    EXPECT_EQ(part.graph().stream(2).example, 8U);
    EXPECT_EQ(part.graph().stream(2).call, graph.stream(third).call);
    part.take(graph, std::vector{first, first});
    EXPECT_EQ(part.graph().size(), 3U);
    EXPECT_EQ(part.losses().size(), 2U);
  }
  EXPECT_EQ(ir::middle(graph, std::vector{first, second, third}), 1U);
  EXPECT_EQ(ir::middle(graph, std::vector{first, first, first, second}), 3U);
  EXPECT_EQ(ir::middle(graph, std::vector{second, third}), 0U);
}

}  // namespace
}  // namespace espalier::test
