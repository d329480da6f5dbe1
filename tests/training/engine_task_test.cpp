// Whole steps: the library's Tree-LSTM with its engine and optimizers against three steps in
// PyTorch, and a run from its first epoch to a model read back from a folder.
#include "training/engine_task.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "data/minibatches.h"
#include "data/treebank.h"
#include "frontend/model.h"
#include "ir/text/parse.h"
#include "ir/text/print.h"
#include "models/models.h"
#include "tests/data/support.h"
#include "tests/runtime/forest.h"
#include "tests/support/real_data.h"
#include "tests/training/golden_steps.h"
#include "training/checkpoint.h"
#include "training/metrics.h"
#include "training/update_rule.h"

namespace espalier {
namespace {

using test::GoldenSteps;
using test::Weights;

Weights weights_of(const Engine& engine) {
  Weights weights;
  for (const ir::Param& param : engine.program().params) {
    const std::span<const float> values = engine.param(param.name);
    weights[param.name].assign(values.begin(), values.end());
  }
  return weights;
}

/// The trees that the golden steps were taken on, with words numbered as there.
std::vector<data::Tree> golden_trees(const std::filesystem::path& sst, const GoldenSteps& golden) {
  data::TextFile file = data::read_text_file(sst / "train.txt");
  std::size_t end = 0;
  for (std::size_t line = golden.setup.at("trees"); line > 0; --line)
    end = file.text.find('\n', end) + 1;
  file.text.resize(end);
  data::Vocabulary vocabulary;
  std::vector<data::Tree> trees = data::parse_sst(file, {}, vocabulary).trees;
  std::vector<std::string> words;
  for (int id = 0; id < vocabulary.size(); ++id) words.push_back(vocabulary.token(id));
  EXPECT_EQ(test::peer_vocabulary_hash(words),
            golden.setup.at("vocabulary_hash").get<std::string>());
  return trees;
}

struct Way {
  const char* name;
  EngineOptions options;
};

std::vector<Way> ways() {
  return {{"Agenda", {.strategy = "agenda"}},
          {"AgendaTwoThreads", {.strategy = "agenda", .threads = 2}},
          {"Unbatched", {.strategy = "unbatched"}},
          {"OpByOp", {.strategy = "depth", .granularity = ir::Granularity::op}}};
}

class StepsEqualPytorch : public testing::TestWithParam<Way> {};

TEST_P(StepsEqualPytorch, ThreeOfEachOptimizerOnSst) {
  const auto data = test::real_data();
  if (!data) GTEST_SKIP() << "real data absent";
  const GoldenSteps golden;
  const std::vector<data::Tree> trees = golden_trees(*data / "sst", golden);
  const Weights initial = golden.initial();

  for (const OptimizerInfo& info : optimizers()) {
    const std::string kind(info.name);
    SCOPED_TRACE(kind);
    const auto model = models::find_model("tree_lstm")
                           .make({.vocabulary = golden.setup.at("vocab"),
                                  .embed = golden.setup.at("embed"),
                                  .hidden = golden.setup.at("hidden"),
                                  .classes = golden.setup.at("classes")});
    Engine engine(model->program(), GetParam().options);
    for (const auto& [name, values] : initial)
      std::ranges::copy(values, engine.param(name).begin());
    const auto record = [&](const Instances& minibatch) {
      for (std::size_t i = 0; i < trees.size(); ++i) {
        minibatch.begin_example(i);
        model->record_loss(minibatch, trees[i]);
      }
    };

    StandardOptimizer optimizer(test::golden_options(kind));
    const nlohmann::json& expected = golden.run(kind);
    for (const nlohmann::json& expected_step : expected.at("steps")) {
      const Instances minibatch = engine.instances();
      record(minibatch);
      const StepResult step = engine.train_step(minibatch, optimizer);
      test::expect_close(step.loss, expected_step.at("loss"));
      test::expect_close(step.gradient_norm, expected_step.at("gradient_norm"));
    }
    const Instances minibatch = engine.instances(Mode::inference);
    record(minibatch);
    test::expect_close(engine.forward(minibatch).loss, expected.at("loss_after"));
    test::expect_weights(weights_of(engine), initial, expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, StepsEqualPytorch, testing::ValuesIn(ways()),
                         [](const auto& way) { return std::string(way.param.name); });

/// Whether a word is odd: what a small model learns in a few epochs.
struct Parity : Model {
  static constexpr int kWords = 12;
  Cell<Tensor(Index)> logits;
  Cell<Tensor(Index, Index)> loss;

  Parity() : Model("parity") {
    const Param embed = param("embed", {kWords, 4}, Initializer::uniform(0.1));
    const Param out = param("out", {2, 4});
    logits = cell("logits", [=](Index word) -> Tensor { return matmul(out, row(embed, word)); });
    loss = cell("loss", [=](Index word, Index label) -> Tensor {
      return cross_entropy(matmul(out, row(embed, word)), label);
    });
  }

  double accuracy(Engine& engine) const {
    ConfusionMatrix matrix(2);
    const Instances minibatch = engine.instances(Mode::inference);
    for (int word = 0; word < kWords; ++word)
      matrix.add(word % 2, argmax(engine.value(minibatch(logits, word))));
    return matrix.accuracy();
  }
};

/// A run on `engine` with minibatches of 4 words, the model of the best epoch kept in `folder`.
TrainingResult train_parity(const Parity& model, Engine& engine, const std::string& folder) {
  std::ostringstream out;
  Progress progress(out, Terminal{}, "words");
  OptimizerOptions options{.rule = update_rule("adagrad")};
  options.rule.lr = 0.5;
  StandardOptimizer optimizer(options);
  data::Minibatches order(Parity::kWords, 4, 7);
  const auto begin_epoch = [&](int epoch) {
    order.start_epoch(epoch);
    return EpochSize{.minibatches = order.size(), .examples = Parity::kWords};
  };
  const auto record = [&](const Instances& calls, int minibatch) {
    for (const int word : order[minibatch]) {
      calls.begin_example(static_cast<std::uint64_t>(word));
      calls.loss(calls(model.loss, word, word % 2));
    }
  };
  const auto keep = [&](const EpochReport& report) {
    const SavedModel saved{.name = "parity",
                           .program = ir::print(engine.program()),
                           .settings = {{"hidden", std::int64_t{4}}},
                           .vocabulary = {}};
    save_model(folder, saved, {}, param_tensors(engine), {{"epoch", std::to_string(report.epoch)}});
  };
  return train({.epochs = 30},
               {.begin_epoch = begin_epoch,
                .step = engine_step(engine, optimizer, record),
                .evaluate = [&] { return model.accuracy(engine); },
                .keep = keep},
               optimizer, progress);
}

TEST(EngineTask, TrainsKeepsAndComesBack) {
  const data::TemporaryFolder folder;
  const Parity model;
  Engine engine(model.program());
  const TrainingResult result = train_parity(model, engine, folder / "run");
  ASSERT_EQ(result.epochs.size(), 30u);
  EXPECT_EQ(result.steps, 90);
  EXPECT_EQ(result.examples, 360);
  EXPECT_GT(result.statistics.instances, 0u);
  EXPECT_NEAR(result.epochs.front().loss, std::log(2.0), 0.1);
  EXPECT_LT(result.epochs.back().loss, 0.1);
  EXPECT_EQ(model.accuracy(engine), 1);

  Engine loaded(ir::parse(load_model(folder / "run").program));
  set_params(loaded, load_weights(folder / "run", loaded.program().params));
  EXPECT_EQ(model.accuracy(loaded), 1);
  EXPECT_EQ(loaded.program().params, engine.program().params);
  EXPECT_EQ(Safetensors(folder / "run/model.safetensors").metadata().at("epoch"),
            std::to_string(result.best_epoch));
}

TEST(EngineTask, TheSameSeedGivesTheSameBits) {
  const data::TemporaryFolder folder;
  const Parity model;
  std::vector<Weights> weights;
  for (int threads : {1, 2}) {
    Engine engine(model.program(), {.threads = threads, .seed = 3});
    train_parity(model, engine, folder / "run");
    weights.push_back(weights_of(engine));
  }
  EXPECT_EQ(weights[0], weights[1]);
}

TEST(EngineTask, ASnapshotPutsParamsBack) {
  const Parity model;
  Engine engine(model.program());
  ParamSnapshot snapshot;
  snapshot.restore(engine);
  const Weights before = weights_of(engine);
  snapshot.take(engine);
  for (const auto& [name, values] : before) std::ranges::fill(engine.param(name), 1.0f);
  snapshot.restore(engine);
  EXPECT_EQ(weights_of(engine), before);
}

TEST(EngineTask, RecordsInPartsWithinAMemoryLimit) {
  const auto model = test::make_model("tree_lstm", 6, 8, 0.3);
  const auto trees = test::random_forest("tree_lstm", 3, 600);
  std::vector<Weights> weights;
  std::vector<MinibatchReport> reports;
  for (const std::int64_t limit : {0, 500'000}) {
    Engine engine(model->program(), {.memory_limit = limit});
    StandardOptimizer optimizer({.rule = {.lr = 0.1}});
    const auto step = engine_step(
        engine, optimizer, [](int minibatch) { return minibatch == 0 ? 600 : 40; },
        [&](const Instances& minibatch, int, int example) {
          minibatch.begin_example(static_cast<std::uint64_t>(example));
          model->record_loss(minibatch, trees[static_cast<std::size_t>(example)]);
        });
    for (const int minibatch : {0, 1, 0}) {
      reports.push_back(step(minibatch));
      if (limit > 0) {
        EXPECT_LE(reports.back().statistics.peak_bytes, limit);
      }
    }
    EXPECT_EQ(engine.step(), 3U);
    weights.push_back(weights_of(engine));
  }
  // What is recorded would not fit by itself.
  EXPECT_EQ(reports[0].statistics.parts, 1);
  EXPECT_GT(reports[3].statistics.parts, 5);
  EXPECT_EQ(reports[3].statistics.calls, reports[0].statistics.calls);
  EXPECT_EQ(reports[3].loss, reports[0].loss);
  for (int step = 0; step < 3; ++step) {
    EXPECT_EQ(reports[3 + step].examples, reports[step].examples);
    EXPECT_NEAR(reports[3 + step].loss, reports[step].loss, 1e-5);
  }
  for (const auto& [name, values] : weights[0])
    for (std::size_t i = 0; i < values.size(); ++i)
      ASSERT_NEAR(weights[1].at(name)[i], values[i], 1e-5) << name << " at " << i;
}

TEST(EngineTask, ForgetsWhatAFailedMinibatchAccumulated) {
  const auto model = test::make_model("tree_lstm", 6, 8, 0.3);
  const auto trees = test::random_forest("tree_lstm", 3, 600);
  std::vector<Weights> weights;
  for (const bool fails : {false, true}) {
    Engine engine(model->program(), {.memory_limit = 500'000});
    StandardOptimizer optimizer({.rule = {.lr = 0.1}});
    const auto step = engine_step(
        engine, optimizer, [](int) { return 600; },
        [&](const Instances& calls, int minibatch, int example) {
          if (minibatch == 1 && example == 599) throw std::runtime_error("a broken file");
          calls.begin_example(static_cast<std::uint64_t>(example));
          model->record_loss(calls, trees[static_cast<std::size_t>(example)]);
        });
    if (fails) {
      EXPECT_THROW(step(1), std::runtime_error);
    }
    step(0);
    weights.push_back(weights_of(engine));
  }
  EXPECT_EQ(weights[1], weights[0]);
}

TEST(EngineTask, LossesCountWhereNoExampleWasBegun) {
  const Parity model;
  Engine engine(model.program());
  StandardOptimizer optimizer({.rule = {.lr = 0}});
  const auto step = engine_step(engine, optimizer, [&](const Instances& calls, int minibatch) {
    EXPECT_EQ(minibatch, 5);
    for (int word = 0; word < 3; ++word) calls.loss(calls(model.loss, word, 0));
  });
  const MinibatchReport report = step(5);
  EXPECT_EQ(report.examples, 3);
  EXPECT_NEAR(report.loss, std::log(2.0), 0.1);
}

}  // namespace
}  // namespace espalier
