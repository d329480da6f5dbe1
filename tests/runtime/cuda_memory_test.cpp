// Memory of an engine on a GPU: what a step will hold is forecast within 1 %, and what does
// not fit is refused, with its size, before it runs. The GPU is that of cuda_engine_test.cpp.
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

/// Of the device, as the stand-in tells it; nothing on a GPU, where others have memory as well.
std::optional<std::int64_t> used_bytes() {
  if (runtime::find_cuda().gpus.front().name != "this machine's processor") return {};
  void* const driver = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  const auto info =
      reinterpret_cast<int (*)(std::size_t*, std::size_t*)>(::dlsym(driver, "cuMemGetInfo_v2"));
  std::size_t free = 0, total = 0;
  EXPECT_EQ(info(&free, &total), 0);
  return std::int64_t(total - free);
}

void expect_exact(std::int64_t predicted, std::int64_t held) {
  EXPECT_NEAR(double(predicted), double(held), 0.01 * double(held));
}

/// Of one model.
class MemoryForecasts : public CudaMemory, public ::testing::WithParamInterface<const char*> {
 protected:
  /// With vectors of `width` and `width + 16`: the engine is new, then too small, without the
  /// optimizer's state from minibatch `first_step` on, then large enough.
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
      std::int64_t predicted = engine.forecast_bytes(inference);
      expect_exact(predicted, engine.forward(inference).statistics.bytes_held);

      const Instances training = engine.instances();
      record(training, *model, forest);
      predicted = engine.forecast_bytes(training);
      const StepStatistics step = trees < first_step
                                      ? engine.gradients(training).statistics
                                      : engine.train_step(training, optimizer).statistics;
      // A first step brings the optimizer's state, two floats a param's.
      for (const ir::Param& param : model->program().params)
        if (trees == first_step) predicted += 2 * std::int64_t(sizeof(float)) * param.shape.size();
      expect_exact(predicted, step.bytes_held);
      expect_exact(predicted, step.peak_bytes);
      EXPECT_EQ(step.parts, 1);
      EXPECT_EQ(step.bytes_held, used_bytes().value_or(step.bytes_held));
    }
  }
};

TEST_P(MemoryForecasts, IsExactToTheHundredth) {
  expect_forecast(48, Contractions::automatic, {3, 60, 90, 400, 10}, 90);
}

TEST_P(MemoryForecasts, IsExactWhereIndexArraysAreMostOfIt) {
  expect_forecast(2, Contractions::tile, {3, 3000, 4000, 10}, 4000);
}

TEST_P(MemoryForecasts, IsExactWithProductsOfCublas) {
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
    const std::int64_t predicted = engine.forecast_bytes(g);
    const StepStatistics step = engine.accumulate(g, 1).statistics;
    EXPECT_LE(step.bytes_held, predicted);
    expect_exact(predicted, step.bytes_held);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, MemoryForecasts,
                         ::testing::Values("tree_lstm", "child_sum_tree_lstm", "lstm"),
                         [](const auto& info) { return info.param; });

/// Tests of a device with little memory, which only the stand-in can be.
class LittleCudaMemory : public CudaMemory {
 protected:
  void SetUp() override {
    CudaMemory::SetUp();
    if (IsSkipped()) return;
    if (runtime::find_cuda().gpus.front().name != "this machine's processor")
      GTEST_SKIP() << "this GPU has the memory that it has";
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
  settings.contractions = Contractions::tile;  // cuBLAS's workspace is larger than all the rest
  Engine whole(model_->program(), settings);
  const Instances minibatch = whole.instances();
  record(minibatch, *model_, trees_);
  const std::int64_t needed = whole.forecast_bytes(minibatch);
  const StepResult expected = whole.gradients(minibatch);
  EXPECT_EQ(expected.statistics.parts, 1);

  const std::int64_t others = expected.statistics.bytes_held;  // of the engine that is there
  limit(others + needed * 7 / 10);
  Engine engine(model_->program(), settings);
  const Instances parts = engine.instances();
  record(parts, *model_, trees_);
  const StepResult result = engine.gradients(parts);
  EXPECT_GT(result.statistics.parts, 1);
  EXPECT_EQ(result.loss, expected.loss);
  EXPECT_NEAR(result.gradient_norm, expected.gradient_norm, 1e-5 * expected.gradient_norm);
}

TEST_F(LittleCudaMemory, SaysWhatOneExampleTakes) {
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
  // It goes on with what fits.
  const Instances inference = engine.instances(Mode::inference);
  record(inference, *model_, {trees_[0]});
  EXPECT_GT(engine.forward(inference).loss, 0);
}

TEST_F(LittleCudaMemory, SaysHowMuchTheEngineWantedAtFirst) {
  limit(2 << 20);
  const auto model = make_model("tree_lstm", 300, 300);
  const std::string text = refusal([&] {
    Engine engine(model->program(), on_gpu());
    const Instances minibatch = engine.instances(Mode::inference);
    record(minibatch, *model, {trees_[0]});
    engine.forward(minibatch);
  });
  EXPECT_NE(text.find("out of memory on the GPU: the engine takes 2.00 MiB more, but "),
            std::string::npos)
      << text;
}

TEST_F(LittleCudaMemory, AnErrorNamesTheKernelTheCellAndTheBatch) {
  EngineOptions settings = on_gpu();
  settings.contractions =
      Contractions::tile;  // a trial of cuBLAS launches too, if no disk cache knows its end
  settings.debug.check_launches = true;
  const std::pair<int, std::string> cases[] = {
      // behind packing
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
