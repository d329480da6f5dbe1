// The engine on a GPU against the engine on the CPU. Through ctest the GPU is the stand-in of
// tests/support/fake_cuda, whose functions are those of this machine; run by itself the executable
// takes the machine's own, and skips where there is none.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "ir/error.h"
#include "runtime/cuda.h"
#include "runtime/engine.h"
#include "scheduler/strategy.h"
#include "tests/runtime/engine_runs.h"
#include "training/optimizer.h"

namespace espalier::test {
namespace {

class CudaEngine : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (const std::string why = runtime::why_no_cuda(); !why.empty()) GTEST_SKIP() << why;
  }
};

EngineOptions on(Device device, const std::string& strategy = "phase") {
  EngineOptions result = options({"", strategy, "", 1});
  result.device = device;
  return result;
}

/// Equal to `epsilons` of single precision, relative to the largest of them.
void expect_near(const std::vector<float>& actual, const std::vector<float>& expected,
                 double epsilons, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double largest = 1e-6;
  for (const float x : expected) largest = std::max(largest, std::abs(double(x)));
  for (std::size_t i = 0; i < expected.size(); ++i)
    ASSERT_NEAR(actual[i], expected[i], epsilons * 0x1p-24 * largest) << what << " at " << i;
}

constexpr int embed = 12, hidden = 20;

TEST_P(CudaEngine, EqualsTheCpuWithEveryStrategy) {
  const auto trees = random_forest(GetParam(), 9, 7);
  const auto model = make_model(GetParam(), embed, hidden, 0.3);
  std::vector<std::vector<float>> first;
  for (const scheduler::StrategyInfo& strategy : scheduler::strategies()) {
    SCOPED_TRACE(strategy.name);
    Engine cpu(model->program(), on(Device::cpu, std::string(strategy.name)));
    Engine gpu(model->program(), on(Device::cuda, std::string(strategy.name)));
    for (Engine* engine : {&cpu, &gpu}) randomize(*engine, 4);
    const Outcome expected = outcome(cpu, *model, trees, all(trees));
    const Outcome actual = outcome(gpu, *model, trees, all(trees));
    EXPECT_NEAR(actual.loss, expected.loss, 256 * 0x1p-24 * std::abs(expected.loss));
    EXPECT_NEAR(actual.norm, expected.norm, 1e-5 * expected.norm);
    for (std::size_t i = 0; i < expected.losses.size(); ++i)
      expect_near(actual.losses[i], expected.losses[i], 256, "losses");
    for (std::size_t p = 0; p < expected.gradients.size(); ++p)
      expect_near(actual.gradients[p], expected.gradients[p], 1024, gpu.program().params[p].name);
    // Strategies do not change the bits of the forward pass, on a GPU neither.
    if (first.empty()) first = actual.losses;
    EXPECT_EQ(actual.losses, first);
    // Nor does what else is in the batch.
    const std::vector<int> some{5, 1, 3};
    const Outcome part = outcome(gpu, *model, trees, some);
    for (std::size_t i = 0; i < some.size(); ++i)
      EXPECT_EQ(part.losses[i], first[std::size_t(some[i])]);
  }
}

TEST_P(CudaEngine, StepsAsTheCpuDoes) {
  const auto trees = random_forest(GetParam(), 9, 7);
  const auto model = make_model(GetParam(), embed, hidden, 0.3);
  for (const OptimizerInfo& info : optimizers()) {
    for (const double clip : {0.0, 0.5}) {
      SCOPED_TRACE(testing::Message() << info.name << " " << clip);
      OptimizerOptions settings{.rule = info.defaults, .clip_norm = clip};
      settings.rule.l2 = 1e-3;
      if (info.name == "sgd") settings.rule.momentum = 0.9;
      const std::string embedding = "embed";
      // Once word vectors are updated row by row, once all of them.
      if (clip > 0) set_embeddings(settings, {&embedding, 1}, 0.1);
      Engine cpu(model->program(), on(Device::cpu)), gpu(model->program(), on(Device::cuda));
      StandardOptimizer of_cpu(settings), of_gpu(settings);
      for (Engine* engine : {&cpu, &gpu}) randomize(*engine, 4);
      for (int step = 0; step < 3; ++step) {
        StepResult results[2];
        for (Engine* engine : {&cpu, &gpu}) {
          const Instances batch = engine->instances();
          for (std::size_t i = 0; i < trees.size(); ++i) {
            batch.begin_example(i);
            model->record_loss(batch, trees[i]);
          }
          results[engine == &gpu] = engine->train_step(batch, engine == &gpu ? of_gpu : of_cpu);
        }
        EXPECT_NEAR(results[1].loss, results[0].loss, 1e-4 * std::abs(results[0].loss));
        EXPECT_NEAR(results[1].gradient_norm, results[0].gradient_norm,
                    1e-4 * results[0].gradient_norm);
        EXPECT_EQ(gpu.step(), std::uint64_t(step) + 1);
        EXPECT_EQ(of_gpu.steps(), step + 1);
        if (step == 2) {
          EXPECT_EQ(results[1].statistics.compilations, 0);
          EXPECT_EQ(results[1].statistics.allocations, 0);
        }
      }
      // Adam divides small numbers by small numbers: what is rounding there moves params as much
      // as anything does.
      const double epsilons = info.name == "adam" ? 65536 : 4096;
      for (const ir::Param& param : cpu.program().params) {
        const auto expected = cpu.parameter(param.name), actual = gpu.parameter(param.name);
        expect_near({actual.begin(), actual.end()}, {expected.begin(), expected.end()}, epsilons,
                    param.name);
      }
      const auto expected = of_cpu.buffers(), actual = of_gpu.buffers();
      ASSERT_EQ(actual.size(), expected.size());
      for (std::size_t i = 0; i < expected.size(); ++i)
        expect_near({actual[i].values.begin(), actual[i].values.end()},
                    {expected[i].values.begin(), expected[i].values.end()}, epsilons,
                    std::string(expected[i].name));
    }
  }
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const models::ModelInfo& info : models::models()) names.emplace_back(info.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Zoo, CudaEngine, ::testing::ValuesIn(model_names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace espalier::test
