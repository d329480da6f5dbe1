// Contractions by cuBLAS: results are those of tiles, the bits of a row do not depend on other
// rows, and the trial of a shape runs once. Runs on the same GPU as cuda_engine_test.cpp; only the
// stand-in has algorithms that break the rules.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <tuple>

#include "base/error.h"
#include "runtime/cuda/devices.h"
#include "runtime/cuda/walk_cost.h"
#include "runtime/engine.h"
#include "tests/runtime/cuda_runs.h"
#include "tests/runtime/forest.h"
#include "training/optimizer.h"

namespace espalier::test {
namespace {

class CudaLibrary : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = runtime::why_no_cuda(); !why.empty()) GTEST_SKIP() << why;
    const std::string cublas = runtime::find_cuda().cublas;
    if (cublas.find(" (lib") == std::string::npos) GTEST_SKIP() << "cuBLAS " << cublas;
  }
  std::unique_ptr<models::TreeModel> model_ = make_model("tree_lstm", embed, hidden, 0.3);
  std::vector<data::Tree> trees_ = random_forest("tree_lstm", 9, 7);
};

class EveryModelByCublas : public CudaLibrary, public ::testing::WithParamInterface<std::string> {};

EngineOptions on(Device device, Contractions contractions = Contractions::automatic,
                 Precision precision = Precision::single, const std::string& strategy = "phase") {
  EngineOptions result = options({"", strategy, "", 1});
  result.device = device;
  result.contractions = contractions;
  result.persistent = Persistent::off;
  result.precision = precision;
  return result;
}

TEST_P(EveryModelByCublas, EqualsTheCpuWithEveryStrategy) {
  expect_equals_the_cpu(GetParam(), [](std::string_view strategy) {
    return on(Device::cuda, Contractions::cublas, Precision::single, std::string(strategy));
  });
}

/// Relative error of rounding both factors of a term. Sums are in single precision, where errors of
/// terms average out rather than add up.
double rounding(Precision precision) { return precision == Precision::tf32 ? 0x1p-10 : 0x1p-8; }

TEST_P(EveryModelByCublas, RoundsFactorsIfAsked) {
  const auto trees = random_forest(GetParam(), 9, 7);
  const auto model = make_model(GetParam(), embed, hidden, 0.3);
  Engine cpu(model->program(), on(Device::cpu));
  randomize(cpu, 4);
  const Outcome expected = outcome(cpu, *model, trees, all(trees));
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    SCOPED_TRACE(precision == Precision::tf32 ? "tf32" : "bf16");
    Engine gpu(model->program(), on(Device::cuda, Contractions::cublas, precision));
    randomize(gpu, 4);
    const Outcome actual = outcome(gpu, *model, trees, all(trees));
    const double epsilons = rounding(precision) * 0x1p24;
    double moved = 0;
    for (std::size_t i = 0; i < expected.losses.size(); ++i) {
      expect_near(actual.losses[i], expected.losses[i], 2 * epsilons, "losses");
      for (std::size_t k = 0; k < expected.losses[i].size(); ++k)
        moved = std::max(moved, std::abs(double(actual.losses[i][k] - expected.losses[i][k])));
    }
    // The factors were indeed rounded.
    EXPECT_GT(moved, rounding(precision) / 64);
    for (std::size_t p = 0; p < expected.gradients.size(); ++p)
      expect_near(actual.gradients[p], expected.gradients[p], 4 * epsilons,
                  gpu.program().params[p].name);
    const std::vector<int> some{5, 1, 3};
    const Outcome part = outcome(gpu, *model, trees, some);
    for (std::size_t i = 0; i < some.size(); ++i)
      EXPECT_EQ(part.losses[i], actual.losses[std::size_t(some[i])]);
  }
}

TEST_F(CudaLibrary, EveryPrecisionTrainsWithinItsForecast) {
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    Engine engine(model_->program(), on(Device::cuda, Contractions::cublas, precision));
    StandardOptimizer optimizer({.rule = update_rule("adagrad")});
    double first = 0;
    for (int step = 0; step < 5; ++step) {
      const Instances minibatch = recorded(engine, *model_, trees_);
      const std::int64_t forecast = engine.forecast_bytes(minibatch);
      const StepResult result = engine.train_step(minibatch, optimizer);
      if (step == 0) first = result.loss;
      if (step > 1) {
        EXPECT_NEAR(double(result.statistics.bytes_held), double(forecast), 256);
        EXPECT_EQ(result.statistics.device_launches, 1U);
      }
      EXPECT_TRUE(step < 4 || result.loss < first);
    }
  }
}

TEST_F(CudaLibrary, WalksAroundLibraryCallsGiveTheSame) {
  EngineOptions settings = on(Device::cuda, Contractions::cublas);
  Engine alone(model_->program(), settings);
  settings.persistent = Persistent::automatic;
  // As on a GPU with slow launches: everything that can be walked is.
  settings.debug.walk_costs = to_text(runtime::WalkCosts{.launch = 1e-3,
                                                         .graph = 1e-3,
                                                         .node = 1e-3,
                                                         .walk = 1e-6,
                                                         .record = 1e-6,
                                                         .barrier = 1e-6,
                                                         .flop = 1e-12,
                                                         .walked_flop = 1e-12,
                                                         .byte = 1e-12,
                                                         .held_byte = 1e-12,
                                                         .places = 4});
  Engine walked(model_->program(), settings);
  for (Engine* engine : {&alone, &walked}) randomize(*engine, 4);
  for (int step = 0; step < 3; ++step) {
    const Outcome expected = outcome(alone, *model_, trees_, all(trees_));
    const Outcome actual = outcome(walked, *model_, trees_, all(trees_));
    EXPECT_EQ(actual.losses, expected.losses);
    EXPECT_EQ(actual.gradients, expected.gradients);
  }
  const Instances minibatch = walked.instances();
  for (const data::Tree& tree : trees_) model_->record_loss(minibatch, tree);
  const StepStatistics step = walked.gradients(minibatch).statistics;
  EXPECT_GT(step.device_walks, 0U);
  EXPECT_LT(step.walked_launches, step.launches);
}

TEST_F(CudaLibrary, ImpossibleOptionsAreRefused) {
  const auto refused = [&](const EngineOptions& settings, const std::string& why) {
    try {
      const Engine engine(model_->program(), settings);
      ADD_FAILURE() << "was not refused: " << why;
    } catch (const UserError& error) {
      EXPECT_NE(std::string(error.what()).find(why), std::string::npos) << error.what();
    }
  };
  refused(on(Device::cpu, Contractions::cublas), "runs on a CPU");
  refused(on(Device::cpu, Contractions::automatic, Precision::tf32), "runs on a CPU");
  refused(on(Device::cuda, Contractions::tile, Precision::bf16), "found precision 'bf16'");
  for (const auto& [contractions, precision, found] :
       {std::tuple(Contractions::cublas, Precision::single, "contractions 'cublas'"),
        std::tuple(Contractions::automatic, Precision::tf32, "precision 'tf32'"),
        std::tuple(Contractions::cublas, Precision::bf16, "precision 'bf16'")}) {
    EngineOptions walked = on(Device::cuda, contractions, precision);
    walked.persistent = Persistent::on;
    refused(walked, std::string("found persistent 'on' with ") + found);
  }
}

TEST_P(EveryModelByCublas, TrainsAsWithTiles) {
  const auto trees = random_forest(GetParam(), 9, 7);
  const auto model = make_model(GetParam(), embed, hidden, 0.3);
  Engine tiles(model->program(), on(Device::cuda, Contractions::tile));
  Engine cublas(model->program(), on(Device::cuda, Contractions::cublas));
  StandardOptimizer of_tiles({.rule = update_rule("adagrad"), .clip_norm = 1});
  StandardOptimizer of_cublas({.rule = update_rule("adagrad"), .clip_norm = 1});
  for (int step = 0; step < 4; ++step) {
    StepResult results[2];
    for (Engine* engine : {&tiles, &cublas}) {
      if (step == 0) randomize(*engine, 4);
      const Instances minibatch = recorded(*engine, *model, trees);
      results[engine == &cublas] =
          engine->train_step(minibatch, engine == &cublas ? of_cublas : of_tiles);
    }
    EXPECT_NEAR(results[1].loss, results[0].loss, 1e-4 * std::abs(results[0].loss));
    EXPECT_NEAR(results[1].gradient_norm, results[0].gradient_norm,
                1e-4 * results[0].gradient_norm);
    const StepStatistics& statistics = results[1].statistics;
    EXPECT_GT(statistics.device_contractions, 0U);
    EXPECT_EQ(results[0].statistics.device_contractions, 0U);
    if (step < 2) continue;
    EXPECT_EQ(statistics.compilations, 0);
    EXPECT_EQ(statistics.allocations, 0);
    EXPECT_EQ(statistics.device_copies, 1U);
    EXPECT_EQ(statistics.device_launches, 1U);  // library calls are in the graph as well
  }
}

TEST_P(EveryModelByCublas, ForecastsItsMemory) {
  const auto model = make_model(GetParam(), embed, hidden, 0.3);
  Engine tiles(model->program(), on(Device::cuda, Contractions::tile));
  Engine cublas(model->program(), on(Device::cuda, Contractions::cublas));
  const auto trees = random_forest(GetParam(), 3, 40);
  std::int64_t forecast[2] = {}, held[2] = {};
  for (int time = 0; time < 3; ++time)
    for (Engine* engine : {&tiles, &cublas}) {
      const Instances minibatch = recorded(*engine, *model, trees);
      const bool by_cublas = engine == &cublas;
      if (time > 0) forecast[by_cublas] = engine->forecast_bytes(minibatch);
      held[by_cublas] = engine->gradients(minibatch).statistics.bytes_held;
    }
  EXPECT_GT(held[1], held[0]);
  EXPECT_EQ(held[1], forecast[1]);
  // Also before anything has run.
  Engine fresh(model->program(), on(Device::cuda, Contractions::cublas));
  const Instances minibatch = fresh.instances();
  for (const data::Tree& tree : trees) model->record_loss(minibatch, tree);
  EXPECT_NEAR(double(fresh.forecast_bytes(minibatch)), double(held[1]), 0.01 * double(held[1]));
}

TEST_F(CudaLibrary, PaddingRowsDoNotChangeResults) {
  // Minibatches shrink, so that the padding behind their rows holds values of larger ones.
  Engine one(model_->program(), on(Device::cuda, Contractions::cublas));
  randomize(one, 4);
  for (const int count : {30, 1, 7, 2, 30, 3}) {
    const auto trees = random_forest("tree_lstm", 5, count);
    Engine fresh(model_->program(), on(Device::cuda, Contractions::cublas));
    randomize(fresh, 4);
    const Outcome expected = outcome(fresh, *model_, trees, all(trees));
    const Outcome actual = outcome(one, *model_, trees, all(trees));
    EXPECT_EQ(actual.losses, expected.losses);
    EXPECT_EQ(actual.gradients, expected.gradients);
    EXPECT_EQ(actual.norm, expected.norm);
  }
}

TEST_F(CudaLibrary, RunsInPartsIfMemoryIsShort) {
  EngineOptions settings = on(Device::cuda, Contractions::cublas);
  Engine whole(model_->program(), settings);
  randomize(whole, 4);
  const auto many = random_forest("tree_lstm", 3, 40);
  const Instances minibatch = recorded(whole, *model_, many);
  const std::int64_t workspace = 8 << 20;  // of cuBLAS, which cannot be split
  settings.memory_limit = workspace + (whole.forecast_bytes(minibatch) - workspace) * 3 / 4;
  const StepResult expected = whole.gradients(minibatch);
  Engine parts(model_->program(), settings);
  randomize(parts, 4);
  const StepResult actual = parts.gradients(recorded(parts, *model_, many));
  EXPECT_GT(actual.statistics.parts, 1);
  EXPECT_EQ(actual.loss, expected.loss);
  for (const ir::Param& param : whole.program().params)
    expect_near(parts.gradient(param.name), whole.gradient(param.name), 1024, param.name);
}

TEST_F(CudaLibrary, LittleMemoryIsNotSpentOnCublasUnlessAsked) {
  EngineOptions settings = on(Device::cuda);
  settings.memory_limit = 20 << 20;
  Engine engine(model_->program(), settings);
  const StepStatistics step = engine.gradients(recorded(engine, *model_, trees_)).statistics;
  EXPECT_LT(step.bytes_held, 8 << 20);
  ASSERT_EQ(engine.warnings().size(), 1U);
  EXPECT_NE(engine.warnings()[0].find(
                "cuBLAS is not used: it would take 8 MiB of a memory limit of 20.00 MiB"),
            std::string::npos)
      << engine.warnings()[0];
}

TEST_F(CudaLibrary, AnAlgorithmThatDependsOnTheNumberOfRowsIsRejected) {
  if (!on_stand_in()) GTEST_SKIP() << "only the stand-in has such an algorithm";
  // Compares batches of more than a hundred rows with single trees.
  const auto many = random_forest("tree_lstm", 3, 60);
  EngineOptions settings = on(Device::cuda, Contractions::cublas);
  {
    const Release offered("dependent");
    Engine engine(model_->program(), settings);
    randomize(engine, 4);
    const Outcome together = outcome(engine, *model_, many, all(many));
    for (const int i : {0, 17, 59})
      EXPECT_EQ(outcome(engine, *model_, many, {i}).losses[0], together.losses[std::size_t(i)]);
  }
  const Release offered("only-dependent");
  Engine must(model_->program(), settings);
  try {
    outcome(must, *model_, trees_, all(trees_));
    ADD_FAILURE() << "a contraction whose rows depend on each other was accepted";
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("contraction ["), std::string::npos) << error.what();
  }
  settings.contractions = Contractions::automatic;
  Engine may(model_->program(), settings),
      tiles(model_->program(), on(Device::cuda, Contractions::tile));
  for (Engine* engine : {&may, &tiles}) randomize(*engine, 4);
  EXPECT_EQ(outcome(may, *model_, trees_, all(trees_)).losses,
            outcome(tiles, *model_, trees_, all(trees_)).losses);
}

/// Contractions by cuBLAS in one step. In the second step, because the first has those of trials,
/// too.
std::size_t count_by_cublas(const EngineOptions& settings, models::TreeModel& model,
                            const std::vector<data::Tree>& trees) {
  Engine engine(model.program(), settings);
  std::size_t count = 0;
  for (int step = 0; step < 2; ++step) {
    const Instances minibatch = engine.instances();
    for (const data::Tree& tree : trees) model.record_loss(minibatch, tree);
    count = engine.gradients(minibatch).statistics.device_contractions;
  }
  return count;
}

TEST_F(CudaLibrary, TheTrialRunsOnceAndIsCached) {
  if (!on_stand_in()) GTEST_SKIP() << "only the stand-in's clock can be set";
  const Release release("");
  const EngineOptions settings = on(Device::cuda);
  std::size_t by_cublas = 0;
  {
    const Variable slow("ESPALIER_FAKE_CUDA_TILE_TIME", "100");
    by_cublas = count_by_cublas(settings, *model_, trees_);
    EXPECT_GT(by_cublas, 0U);
  }
  // Tiles are fast now, but the cached outcome decides.
  EXPECT_EQ(count_by_cublas(settings, *model_, trees_), by_cublas);
  // If the cached outcome is damaged, there is another trial.
  int damaged = 0;
  for (const auto& entry : std::filesystem::directory_iterator(settings.cache_directory)) {
    std::error_code gone;  // other tests use the folder, too
    if (!entry.is_regular_file(gone) || entry.file_size(gone) > 4096) continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    if (text.find("cuBLAS 0.1." + release.number()) == std::string::npos) continue;
    file.seekp(std::streamoff(text.find("library ")) + 10);
    file.put('?');
    ++damaged;
  }
  EXPECT_GT(damaged, 2);
  EXPECT_EQ(count_by_cublas(settings, *model_, trees_), 0U);
  EXPECT_EQ(count_by_cublas(settings, *model_, trees_), 0U);
}

TEST_F(CudaLibrary, ChecksAndProfilesGiveTheSame) {
  std::vector<std::vector<std::vector<float>>> gradients;
  for (const int what : {0, 1, 2, 3}) {
    EngineOptions settings = on(Device::cuda, Contractions::cublas);
    settings.debug.check_launches = what == 1;
    settings.debug.cuda_graphs = what != 3;
    Engine engine(model_->program(), settings);
    randomize(engine, 4);
    engine.set_profiling(what == 2);
    gradients.push_back(outcome(engine, *model_, trees_, all(trees_)).gradients);
  }
  for (std::size_t what = 1; what < gradients.size(); ++what)
    EXPECT_EQ(gradients[what], gradients[0]);
}

INSTANTIATE_TEST_SUITE_P(CudaLibrary, EveryModelByCublas, ::testing::ValuesIn(model_names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace espalier::test
