// Memory of an engine on a GPU: the forecast of a step is within 1 % of what it holds, and a step
// that does not fit is refused, with its size, before it runs. Runs on the same GPU as
// cuda_engine_test.cpp.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <utility>

#include "runtime/cuda/devices.h"
#include "runtime/engine.h"
#include "tests/runtime/engine_runs.h"
#include "tests/support/refusal.h"
#include "training/optimizer.h"

namespace espalier::test {
namespace {

EngineOptions on_gpu() {
  EngineOptions result = options({"", "phase", "", 1});
  result.device = Device::cuda;
  return result;
}

void record(const Instances& minibatch, models::TreeModel& model,
            const std::vector<data::Tree>& trees) {
  for (std::size_t i = 0; i < trees.size(); ++i) {
    minibatch.begin_example(i);
    model.record_loss(minibatch, trees[i]);
  }
}

class CudaMemory : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = runtime::why_no_cuda(); !why.empty()) GTEST_SKIP() << why;
  }
};

/// Memory in use on the stand-in; nothing on a real GPU, where other programs use memory as well.
std::optional<std::int64_t> used_bytes() {
  if (runtime::find_cuda().gpus.front().name != "this machine's processor") return {};
  void* const driver = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  const auto info =
      reinterpret_cast<int (*)(std::size_t*, std::size_t*)>(::dlsym(driver, "cuMemGetInfo_v2"));
  std::size_t free = 0, total = 0;
  EXPECT_EQ(info(&free, &total), 0);
  return std::int64_t(total - free);
}

void expect_within_1_percent(std::int64_t forecast, std::int64_t held) {
  EXPECT_NEAR(double(forecast), double(held), 0.01 * double(held));
}

/// Tests of each model.
class MemoryForecasts : public CudaMemory, public ::testing::WithParamInterface<const char*> {
 protected:
  /// Checks the forecasts of minibatches of so many trees each, with an embedding of `width` and a
  /// hidden size of `width + 16`. Minibatches of fewer than `first_step` trees compute gradients,
  /// the others train, so that the optimizer's state comes later.
  void expect_forecast(int width, Contractions contractions, const std::vector<int>& minibatches,
                       int first_step) {
    const std::string name = GetParam();
    const auto model = make_model(name, width, width + 16, 0.3);
    EngineOptions settings = on_gpu();
    settings.contractions = contractions;
    if (contractions == Contractions::cublas) settings.persistent = Persistent::off;
    Engine engine(model->program(), settings);
    StandardOptimizer optimizer({.rule = update_rule("adam")});
    for (const int trees : minibatches) {
      SCOPED_TRACE(testing::Message() << width << " " << trees);
      const auto forest = random_forest(name, 3, trees);
      const Instances inference = engine.instances(Mode::inference);
      record(inference, *model, forest);
      std::int64_t forecast = engine.forecast_bytes(inference);
      expect_within_1_percent(forecast, engine.forward(inference).statistics.bytes_held);

      const Instances training = engine.instances();
      record(training, *model, forest);
      forecast = engine.forecast_bytes(training);
      const StepStatistics step = trees < first_step
                                      ? engine.gradients(training).statistics
                                      : engine.train_step(training, optimizer).statistics;
      // The first step adds the optimizer's state: two floats for each value of a param.
      for (const ir::Param& param : model->program().params)
        if (trees == first_step) forecast += 2 * std::int64_t(sizeof(float)) * param.shape.size();
      expect_within_1_percent(forecast, step.bytes_held);
      expect_within_1_percent(forecast, step.peak_bytes);
      EXPECT_EQ(step.parts, 1);
      EXPECT_EQ(step.bytes_held, used_bytes().value_or(step.bytes_held));
    }
  }
};

TEST_P(MemoryForecasts, IsWithinOnePercent) {
  expect_forecast(48, Contractions::automatic, {3, 60, 90, 400, 10}, 90);
}

TEST_P(MemoryForecasts, IsWithinOnePercentIfIndexArraysDominate) {
  expect_forecast(2, Contractions::tile, {3, 3000, 4000, 10}, 4000);
}

TEST_P(MemoryForecasts, IsWithinOnePercentWithCublas) {
  if (runtime::find_cuda().cublas.find(" (lib") == std::string::npos) GTEST_SKIP() << "no cuBLAS";
  expect_forecast(8, Contractions::cublas, {3, 20, 30, 60, 10}, 30);
}

/// Rows of an embedding that minibatches accumulate: those so far stay beside the new ones.
TEST_F(CudaMemory, ForecastsCountAccumulatedRows) {
  Model model("rows");
  const Param table = model.param("table", {20'000, 64}, Initializer::uniform(1));
  const auto cell = model.cell("cell", [=](Index i) -> Tensor { return sum(row(table, i)); });
  Engine engine(model.program(), on_gpu());
  for (const int first : {0, 4'000, 8'000, 12'000}) {
    const Instances g = engine.instances();
    for (int i = 0; i < 4'000; ++i) g.loss(g(cell, first + i));
    const std::int64_t forecast = engine.forecast_bytes(g);
    const StepStatistics step = engine.accumulate(g, 1).statistics;
    EXPECT_LE(step.bytes_held, forecast);
    expect_within_1_percent(forecast, step.bytes_held);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, MemoryForecasts,
                         ::testing::Values("tree_lstm", "child_sum_tree_lstm", "lstm"),
                         [](const auto& info) { return info.param; });

/// Tests of a device with little memory, which only the stand-in can have.
class LittleCudaMemory : public CudaMemory {
 protected:
  void SetUp() override {
    CudaMemory::SetUp();
    if (IsSkipped()) return;
    if (runtime::find_cuda().gpus.front().name != "this machine's processor")
      GTEST_SKIP() << "only the stand-in's memory can be limited";
  }
  void TearDown() override { ::unsetenv("ESPALIER_FAKE_CUDA_BYTES"); }
  static void limit(std::int64_t bytes) {
    ::setenv("ESPALIER_FAKE_CUDA_BYTES", std::to_string(bytes).c_str(), 1);
  }

  std::unique_ptr<models::TreeModel> model_ = make_model("tree_lstm", 24, 48);
  std::vector<data::Tree> trees_ = random_forest("tree_lstm", 3, 60);
};

TEST_F(LittleCudaMemory, SplitsAMinibatchBeforeItRuns) {
  EngineOptions settings = on_gpu();
  settings.contractions =
      Contractions::tile;  // cuBLAS's workspace would be larger than everything else
  Engine whole(model_->program(), settings);
  const Instances minibatch = whole.instances();
  record(minibatch, *model_, trees_);
  const std::int64_t needed = whole.forecast_bytes(minibatch);
  const StepResult expected = whole.gradients(minibatch);
  EXPECT_EQ(expected.statistics.parts, 1);

  const std::int64_t others = expected.statistics.bytes_held;  // of the engine that exists already
  limit(others + needed * 7 / 10);
  Engine engine(model_->program(), settings);
  const Instances parts = engine.instances();
  record(parts, *model_, trees_);
  const StepResult result = engine.gradients(parts);
  EXPECT_GT(result.statistics.parts, 1);
  EXPECT_EQ(result.loss, expected.loss);
  EXPECT_NEAR(result.gradient_norm, expected.gradient_norm, 1e-5 * expected.gradient_norm);
}

TEST_F(LittleCudaMemory, SaysWhatOneExampleNeeds) {
  std::int64_t needed = 0;
  {
    Engine engine(model_->program(), on_gpu());
    const Instances one = engine.instances();
    record(one, *model_, {trees_[0]});
    needed = engine.forecast_bytes(one);
  }
  limit(needed - 50'000);
  Engine engine(model_->program(), on_gpu());
  const Instances minibatch = engine.instances();
  record(minibatch, *model_, {trees_[0]});
  const std::string text = refusal([&] { engine.gradients(minibatch); });
  EXPECT_NE(text.find("the GPU's memory for the engine is"), std::string::npos) << text;
  EXPECT_NE(text.find("but one example takes"), std::string::npos) << text;
  // Afterwards the engine still runs what fits.
  const Instances inference = engine.instances(Mode::inference);
  record(inference, *model_, {trees_[0]});
  EXPECT_GT(engine.forward(inference).loss, 0);
}

TEST_F(LittleCudaMemory, SaysHowMuchTheEngineNeedsAtFirst) {
  limit(2 << 20);
  const auto model = make_model("tree_lstm", 300, 300);
  const std::string text = refusal([&] {
    Engine engine(model->program(), on_gpu());
    const Instances minibatch = engine.instances(Mode::inference);
    record(minibatch, *model, {trees_[0]});
    engine.forward(minibatch);
  });
  EXPECT_NE(text.find("out of memory on the GPU: the engine needs 2.00 MiB more, but "),
            std::string::npos)
      << text;
}

TEST_F(LittleCudaMemory, AnErrorNamesTheKernelTheCellAndTheBatch) {
  EngineOptions settings = on_gpu();
  // Without cuBLAS: trials would launch kernels, too, unless they are cached.
  settings.contractions = Contractions::tile;
  settings.debug.check_launches = true;
  const std::pair<int, std::string> cases[] = {
      // the launch after those that pack params
      {1, "kernel 'leaf.forward' stage 0 of batch 0, rows 0 to "},
      {4, "kernel 'node.forward' stage 0 of batch "}};
  for (const auto& [after, expected] : cases) {
    ::setenv("ESPALIER_FAKE_CUDA_FAILS_AFTER", std::to_string(after).c_str(), 1);
    Engine engine(model_->program(), settings);
    const Instances minibatch = engine.instances();
    record(minibatch, *model_, trees_);
    std::string text;
    try {
      engine.gradients(minibatch);
    } catch (const std::exception& error) {
      text = error.what();
    }
    ::unsetenv("ESPALIER_FAKE_CUDA_FAILS_AFTER");
    EXPECT_NE(text.find(expected), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace espalier::test
