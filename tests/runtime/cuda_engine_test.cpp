// The engine on a GPU against the engine on the CPU. Under ctest the GPU is the stand-in of
// tests/support/fake_cuda. Run directly, the executable uses the machine's own GPU, and skips the
// tests if there is none.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <thread>
#include <utility>

#include "base/error.h"
#include "ir/record/recorder.h"
#include "ir/text/parse.h"
#include "runtime/cuda/devices.h"
#include "runtime/engine.h"
#include "tests/runtime/cuda_runs.h"
#include "tests/runtime/engine_oracle.h"
#include "tests/runtime/forest.h"
#include "tests/support/random_calls.h"
#include "tests/support/refusal.h"
#include "training/optimizer.h"
#include "training/update_rule.h"

namespace espalier::test {
namespace {

class CudaEngine : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = runtime::why_no_cuda(); !why.empty()) GTEST_SKIP() << why;
  }
};

class EveryModel : public CudaEngine, public ::testing::WithParamInterface<std::string> {};

/// Without walks.
EngineOptions on(Device device, const std::string& strategy = "phase") {
  EngineOptions result = options({"", strategy, "", 1});
  result.device = device;
  result.persistent = Persistent::off;
  return result;
}

TEST_P(EveryModel, EqualsTheCpuWithEveryStrategy) {
  expect_equals_the_cpu(GetParam(), [](std::string_view strategy) {
    return on(Device::cuda, std::string(strategy));
  });
}

TEST_P(EveryModel, StepsAsTheCpuDoes) {
  const auto trees = random_forest(GetParam(), 9, 7);
  const auto model = make_model(GetParam(), embed, hidden, 0.3);
  for (const OptimizerInfo& info : optimizers()) {
    for (const double clip : {0.0, 0.5}) {
      SCOPED_TRACE(testing::Message() << info.name << " " << clip);
      OptimizerOptions settings{.rule = info.defaults, .clip_norm = clip};
      settings.rule.l2 = 1e-3;
      if (info.name == "sgd") settings.rule.momentum = 0.9;
      const std::string embedding = "embed";
      // Embeddings are updated row by row in one case, as a whole in the other.
      if (clip > 0) set_embeddings(settings, {&embedding, 1}, 0.1);
      Engine cpu(model->program(), on(Device::cpu)), gpu(model->program(), on(Device::cuda));
      StandardOptimizer of_cpu(settings), of_gpu(settings);
      for (Engine* engine : {&cpu, &gpu}) randomize(*engine, 4);
      for (int step = 0; step < 3; ++step) {
        StepResult results[2];
        for (Engine* engine : {&cpu, &gpu}) {
          const Instances minibatch = engine->instances();
          for (std::size_t i = 0; i < trees.size(); ++i) {
            minibatch.begin_example(i);
            model->record_loss(minibatch, trees[i]);
          }
          results[engine == &gpu] = engine->train_step(minibatch, engine == &gpu ? of_gpu : of_cpu);
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
      // Adam divides small numbers by small numbers, so rounding errors of both may move params as
      // far as a whole step.
      const double epsilons = info.name == "adam" ? 65536 : 4096;
      for (const ir::Param& param : cpu.program().params) {
        const auto expected = cpu.param(param.name), actual = gpu.param(param.name);
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

std::vector<std::vector<float>> params_of(Engine& engine) {
  std::vector<std::vector<float>> result;
  for (const ir::Param& param : engine.program().params) {
    const std::span<const float> values = std::as_const(engine).param(param.name);
    result.emplace_back(values.begin(), values.end());
  }
  return result;
}

/// Tests of one model.
class CudaSteps : public CudaEngine {
 protected:
  std::unique_ptr<models::TreeModel> model_ = make_model("tree_lstm", embed, hidden, 0.3);
  std::vector<data::Tree> trees_ = random_forest("tree_lstm", 9, 7);
};

TEST_F(CudaSteps, GoUpInOneCopyAndReplay) {
  std::vector<std::vector<float>> params[2];
  for (const bool graphs : {false, true}) {
    EngineOptions settings = on(Device::cuda);
    settings.debug.cuda_graphs = graphs;
    Engine engine(model_->program(), settings);
    randomize(engine, 4);
    StandardOptimizer optimizer({.rule = update_rule("adagrad"), .clip_norm = 1});
    for (int step = 0; step < 5; ++step) {
      const StepResult result = engine.train_step(recorded(engine, *model_, trees_), optimizer);
      if (step < 2) continue;
      EXPECT_EQ(result.statistics.device_copies, 1U);
      EXPECT_EQ(result.statistics.device_replays, graphs ? 1U : 0U);
      EXPECT_GT(result.statistics.submit_seconds, 0);
      EXPECT_GT(result.statistics.wait_seconds, 0);
      if (graphs)
        EXPECT_EQ(result.statistics.device_launches, 1U);
      else
        EXPECT_GT(result.statistics.device_launches, result.statistics.launches);
    }
    params[graphs] = params_of(engine);
  }
  EXPECT_EQ(params[0], params[1]);
}

/// Params that no gradient reaches, or with a rate of 0, have no gradient, update or optimizer
/// state on the device.
TEST_F(CudaSteps, FrozenParamsCostNothing) {
  constexpr std::int64_t table_bytes = 4 * 30000 * 8;
  const ir::Program program = ir::parse(R"(program frozen
param frozen [30000, 8] uniform(1)
param still [30000, 8] uniform(1)
param unread [30000, 8] uniform(1)
param w [8, 8] uniform(0.5)
state S f32[8]
state L f32[]
cell word(i: index) -> S {
  %0 = port i : i32[]
  %1 = param frozen : f32[30000, 8]
  %2 = row(%1, %0) : f32[8]
  %3 = stop_gradient(%2) : f32[8]
  %4 = param still : f32[30000, 8]
  %5 = row(%4, %0) : f32[8]
  %6 = add(%3, %5) : f32[8]
  %7 = param w : f32[8, 8]
  %8 = matmul(%7, %6) : f32[8]
  return %8
}
cell loss(x: child S) -> L {
  %0 = port x.0 : f32[8]
  %1 = mul(%0, %0) : f32[8]
  %2 = sum(%1, axis=0) : f32[]
  return %2
})",
                                        "frozen");
  UpdateRule none = update_rule("adam");
  none.lr = 0;
  OptimizerOptions settings{.rule = update_rule("adam"), .overrides = {{"still", none}}};
  settings.rule.l2 = 0.1;
  Engine cpu(program, on(Device::cpu)), gpu(program, on(Device::cuda));
  StandardOptimizer of_cpu(settings), of_gpu(settings);
  const std::vector<std::vector<float>> before = params_of(gpu);
  for (int step = 0; step < 3; ++step)
    for (Engine* engine : {&cpu, &gpu}) {
      const Instances minibatch = engine->instances();
      for (std::int32_t i = 0; i < 4; ++i) {
        const ir::CallId word = minibatch.recorder().call(0, {}, std::span(&i, 1));
        minibatch.recorder().loss(minibatch.recorder().call(1, std::span(&word, 1), {}));
      }
      const StepResult result = engine->train_step(minibatch, engine == &gpu ? of_gpu : of_cpu);
      EXPECT_LT(result.statistics.peak_bytes, 3 * table_bytes + 2 * table_bytes);
    }
  const std::vector<std::vector<float>> expected = params_of(cpu), actual = params_of(gpu);
  for (const std::size_t param : {0, 1, 2}) EXPECT_EQ(actual[param], before[param]);
  EXPECT_NE(actual[3], before[3]);
  expect_near(actual[3], expected[3], 65536, "w");
  EXPECT_EQ(gpu.gradient("frozen"), std::vector<float>(30000 * 8, 0.F));
  EXPECT_EQ(of_gpu.buffers().size(), 2u);
}

TEST_F(CudaSteps, MinibatchesOfChangingShapeAreIndependent) {
  // Compares a fresh engine for each minibatch with one engine for all, which replays graphs.
  Engine one(model_->program(), on(Device::cuda));
  randomize(one, 4);
  for (int round = 0; round < 3; ++round)
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      const auto trees = random_forest("tree_lstm", seed, 1 + int(seed) * 3);
      Engine fresh(model_->program(), on(Device::cuda));
      randomize(fresh, 4);
      const Outcome expected = outcome(fresh, *model_, trees, all(trees));
      const Outcome actual = outcome(one, *model_, trees, all(trees));
      EXPECT_EQ(actual.losses, expected.losses);
      EXPECT_EQ(actual.gradients, expected.gradients);
      EXPECT_EQ(actual.norm, expected.norm);
    }
}

/// Plain SGD as a user might write it, which runs on the host.
struct PlainSgd final : Optimizer {
  void prepare(std::span<const StoredParam>) override {}
  void begin_step(const GradientInfo&) override {}
  void update(ir::ParamId, std::size_t, std::span<float> values,
              std::span<const float> gradient) override {
    for (std::size_t i = 0; i < values.size(); ++i) values[i] -= 0.5F * gradient[i];
  }
  bool updates_every_row(ir::ParamId) const override { return false; }
  void update_rows(ir::ParamId, std::size_t first_row, std::size_t width, std::span<float> values,
                   std::span<const std::int32_t> rows, std::span<const float> gradients) override {
    for (std::size_t i = 0; i < rows.size(); ++i)
      for (std::size_t j = 0; j < width; ++j)
        values[(std::size_t(rows[i]) - first_row) * width + j] -= 0.5F * gradients[i * width + j];
  }
};

TEST_F(CudaSteps, AcceptAnOptimizerOfTheUser) {
  Engine ours(model_->program(), on(Device::cuda)), users(model_->program(), on(Device::cuda));
  UpdateRule rule = update_rule("sgd");
  rule.lr = 0.5;
  StandardOptimizer standard({.rule = rule});
  PlainSgd plain;
  for (int step = 0; step < 2; ++step) {
    ours.train_step(recorded(ours, *model_, trees_), standard);
    users.train_step(recorded(users, *model_, trees_), plain);
  }
  EXPECT_EQ(params_of(users), params_of(ours));
}

TEST_F(CudaSteps, TheOptimizerStateMovesBetweenEngines) {
  // Moving it to the host and to another engine gives the same as all steps on one engine.
  OptimizerOptions settings{.rule = update_rule("adam")};
  Engine whole(model_->program(), on(Device::cuda));
  StandardOptimizer of_whole(settings), optimizer(settings);
  for (int step = 0; step < 3; ++step) whole.train_step(recorded(whole, *model_, trees_), of_whole);

  auto first = std::make_unique<Engine>(model_->program(), on(Device::cuda));
  first->train_step(recorded(*first, *model_, trees_), optimizer);
  EXPECT_FALSE(std::ranges::all_of(optimizer.buffers()[1].values, [](float x) { return x == 0; }));
  first->train_step(recorded(*first, *model_, trees_), optimizer);
  const auto params = params_of(*first);
  first.reset();
  Engine second(model_->program(), on(Device::cuda));
  second.set_step(2);
  for (std::size_t p = 0; p < params.size(); ++p)
    std::ranges::copy(params[p], second.param(second.program().params[p].name).begin());
  second.train_step(recorded(second, *model_, trees_), optimizer);
  EXPECT_EQ(params_of(second), params_of(whole));
}

TEST_F(CudaSteps, ADivergedStepChangesNothing) {
  Engine engine(model_->program(), on(Device::cuda));
  StandardOptimizer optimizer({.rule = update_rule("adam")});
  engine.train_step(recorded(engine, *model_, trees_), optimizer);
  const std::string name = engine.program().params.back().name;
  engine.param(name)[0] = std::nanf("");
  const auto before = params_of(engine);
  EXPECT_THROW(engine.train_step(recorded(engine, *model_, trees_), optimizer), UserError);
  EXPECT_EQ(optimizer.steps(), 1);
  const auto after = params_of(engine);
  for (std::size_t p = 0; p + 1 < before.size(); ++p) EXPECT_EQ(after[p], before[p]);
}

TEST_F(CudaSteps, RunInPartsIfMemoryIsShort) {
  EngineOptions settings = on(Device::cuda);
  settings.contractions = Contractions::tile;
  Engine whole(model_->program(), settings);
  randomize(whole, 4);
  const auto many = random_forest("tree_lstm", 3, 40);
  const Instances minibatch = recorded(whole, *model_, many);
  const std::int64_t needed = whole.forecast_bytes(minibatch);
  const StepResult expected = whole.gradients(minibatch);
  settings.memory_limit = needed * 3 / 4;
  Engine parts(model_->program(), settings);
  randomize(parts, 4);
  const StepResult actual = parts.gradients(recorded(parts, *model_, many));
  EXPECT_GT(actual.statistics.parts, 1);
  EXPECT_EQ(actual.loss, expected.loss);
  EXPECT_NEAR(actual.gradient_norm, expected.gradient_norm, 1e-5 * expected.gradient_norm);
  for (const ir::Param& param : whole.program().params)
    expect_near(parts.gradient(param.name), whole.gradient(param.name), 1024, param.name);
}

TEST_F(CudaSteps, ValuesInTheMiddleOfRecording) {
  std::vector<std::vector<float>> values[2];
  for (const Device device : {Device::cpu, Device::cuda}) {
    for (const bool finite : {false, true}) {
      EngineOptions settings = on(device);
      settings.debug.check_finite = finite;
      Engine engine(model_->program(), settings);
      randomize(engine, 4);
      const Instances minibatch = engine.instances(Mode::inference);
      std::vector<float> got;
      for (const data::Tree& tree : trees_) {
        model_->record_loss(minibatch, tree);
        const auto& losses = minibatch.recorder().losses();
        const auto value = engine.value(minibatch.recorder().handle(losses.back()));
        got.insert(got.end(), value.begin(), value.end());
      }
      values[device == Device::cuda].push_back(got);
    }
  }
  for (std::size_t i = 0; i < 2; ++i) expect_near(values[1][i], values[0][i], 256, "values");
}

TEST_F(CudaSteps, CheckedLaunchesAndProfilesGiveTheSame) {
  std::vector<std::vector<std::vector<float>>> gradients;
  for (const int what : {0, 1, 2}) {
    EngineOptions settings = on(Device::cuda);
    settings.debug.check_launches = what == 1;
    Engine engine(model_->program(), settings);
    randomize(engine, 4);
    engine.set_profiling(what == 2);
    gradients.push_back(outcome(engine, *model_, trees_, all(trees_)).gradients);
    if (what != 2) continue;
    EXPECT_FALSE(engine.profile().empty());
    EXPECT_EQ(engine.profile()[0].kernel, "leaf.forward");
  }
  EXPECT_EQ(gradients[1], gradients[0]);
  EXPECT_EQ(gradients[2], gradients[0]);
}

TEST_F(CudaSteps, AnEngineMayEndOnAnotherThread) {
  auto engine = std::make_unique<Engine>(model_->program(), on(Device::cuda));
  engine->gradients(recorded(*engine, *model_, trees_));
  std::thread([&] { engine.reset(); }).join();
}

TEST_F(CudaSteps, RefuseGpusThatLackWhatKernelsUse) {
  if (!on_stand_in()) GTEST_SKIP() << "only the stand-in can be an older GPU";
  const Variable older("ESPALIER_FAKE_CUDA_MAJOR", "7");
  const std::string text = refusal([&] { Engine(model_->program(), on(Device::cuda)); });
  const EngineOptions automatic = Engine(model_->program(), on(Device::automatic)).options();
  EXPECT_NE(text.find("is sm_70: kernels need sm_80 or newer"), std::string::npos) << text;
  EXPECT_EQ(automatic.device, Device::cpu);
}

TEST_F(CudaSteps, RandomProgramsEqualTheOracle) {
  for (std::uint64_t seed = 0; seed < 2; ++seed) {
    SCOPED_TRACE(seed);
    const ir::Program program = random_program(seed, {.width = 5, .withheld_gradients = false});
    constexpr std::uint64_t examples = 6;
    const auto record_all = [](const Instances& minibatch) {
      for (std::uint64_t i = 0; i < examples; ++i) record_random(minibatch, i);
    };
    Engine engine(program, on(Device::cuda, "agenda"));
    randomize(engine, seed);
    const Instances minibatch = engine.instances();
    record_all(minibatch);
    const double loss = engine.gradients(minibatch).loss;
    expect_within_roundings(engine, loss, record_all, double(examples));
  }
}

INSTANTIATE_TEST_SUITE_P(CudaEngine, EveryModel, ::testing::ValuesIn(model_names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace espalier::test
