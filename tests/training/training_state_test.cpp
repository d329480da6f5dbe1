// A run that stops and goes on in new objects takes the same steps as one that did not stop.
#include <gtest/gtest.h>

#include "frontend/model.h"
#include "models/models.h"
#include "tests/data/support.h"
#include "tests/runtime/forest.h"
#include "tests/support/refusal.h"
#include "training/checkpoint.h"
#include "training/engine_task.h"
#include "training/optimizer.h"
#include "training/update_rule.h"

namespace espalier {
namespace {

struct Training {
  std::unique_ptr<models::TreeModel> model = test::make_model("tree_lstm", 6, 8, 0.3);
  Engine engine{model->program()};
  StandardOptimizer optimizer;

  explicit Training(const UpdateRule& rule) : optimizer({.rule = rule}) {}

  void steps(int first, int last) {
    const auto trees = test::random_forest("tree_lstm", 3, 30);
    for (int step = first; step < last; ++step) {
      const Instances minibatch = engine.instances();
      for (int i = 0; i < 5; ++i) {
        const int example = 5 * step + i;
        minibatch.begin_example(static_cast<std::uint64_t>(example));
        model->record_loss(minibatch, trees[static_cast<std::size_t>(example)]);
      }
      engine.train_step(minibatch, optimizer);
    }
  }

  std::vector<std::vector<float>> params() const {
    std::vector<std::vector<float>> values;
    for (const ir::Param& param : engine.program().params) {
      const auto of = engine.param(param.name);
      values.emplace_back(of.begin(), of.end());
    }
    return values;
  }
};

std::vector<UpdateRule> rules() {
  std::vector<UpdateRule> rules;
  for (const OptimizerInfo& info : optimizers()) {
    rules.push_back(info.defaults);
    if (!info.takes_momentum) continue;
    rules.push_back(info.defaults);
    rules.back().momentum = 0.9;
  }
  return rules;
}

TEST(TrainingState, ARunGoesOnToTheSameBits) {
  const data::TemporaryFolder folder;
  for (const UpdateRule& rule : rules()) {
    Training whole(rule);
    whole.steps(0, 6);
    for (const int stop : {0, 3}) {
      Training before(rule), after(rule);
      before.steps(0, stop);
      save_training_state(folder / "run", before.engine, before.optimizer);
      set_params(after.engine, before.params());
      restore_training_state(folder / "run", after.engine, after.optimizer);
      EXPECT_EQ(after.engine.step(), static_cast<std::uint64_t>(stop));
      EXPECT_EQ(after.optimizer.steps(), stop);
      after.steps(stop, 6);
      EXPECT_EQ(after.params(), whole.params());
    }
  }
}

/// Only arithmetic outside cells reads `late`, and a new engine has not seen it yet. `late.scale`
/// is a param whose name begins like one of its buffers.
TEST(TrainingState, OfAParamThatOnlyArithmeticOutsideCellsReads) {
  Model model("later");
  const Param late = model.param("late", {4}, Initializer::constant(2));
  const Param scale = model.param("late.scale", {4}, Initializer::constant(1));
  const auto leaf = model.cell("leaf", [=]() -> Tensor { return scale * 3.0; });
  const auto steps = [&](Engine& engine, Optimizer& optimizer, int count) {
    for (int step = 0; step < count; ++step) {
      const Instances calls = engine.instances();
      calls.loss(sum(calls(leaf) * late));
      engine.train_step(calls, optimizer);
    }
    const auto values = engine.param("late");
    return std::vector<float>(values.begin(), values.end());
  };
  const data::TemporaryFolder folder;
  for (const UpdateRule& rule : rules()) {
    SCOPED_TRACE(rule.optimizer->name);
    Engine whole(model.program()), before(model.program()), after(model.program());
    StandardOptimizer of_whole({.rule = rule}), first({.rule = rule}), second({.rule = rule});
    steps(before, first, 2);
    save_training_state(folder / "run", before, first);
    for (const char* param : {"late", "late.scale"})
      std::ranges::copy(before.param(param), after.param(param).begin());
    restore_training_state(folder / "run", after, second);
    EXPECT_EQ(steps(after, second, 2), steps(whole, of_whole, 4));
    // A param whose rate is 0 keeps no state, whatever a file has.
    UpdateRule frozen = rule;
    frozen.lr = 0;
    Engine other(model.program());
    StandardOptimizer partly({.rule = rule, .overrides = {{"late", frozen}}});
    if (first.buffers().empty()) continue;
    EXPECT_NE(test::refusal([&] {
                restore_training_state(folder / "run", other, partly);
              }).find("'late."),
              std::string::npos);
    EXPECT_FALSE(partly.updates(0));
  }
}

TEST(TrainingState, NeedsAnOptimizerThatHasOne) {
  struct Stateless : Optimizer {
    void prepare(std::span<const StoredParam>) override {}
    void begin_step(const GradientInfo&) override {}
    void update(ir::ParamId, std::size_t, std::span<float>, std::span<const float>) override {}
    bool updates_every_row(ir::ParamId) const override { return false; }
    void update_rows(ir::ParamId, std::size_t, std::size_t, std::span<float>,
                     std::span<const std::int32_t>, std::span<const float>) override {}
  } optimizer;
  Training run(update_rule("sgd"));
  const data::TemporaryFolder folder;
  EXPECT_NE(test::refusal([&] {
              save_training_state(folder / "run", run.engine, optimizer);
            }).find("expected one whose state() can be saved"),
            std::string::npos);
}

TEST(TrainingState, OfAnotherRunIsRefused) {
  const data::TemporaryFolder folder;
  Training adam(update_rule("adam")), adagrad(update_rule("adagrad"));
  adagrad.steps(0, 1);
  save_training_state(folder / "run", adagrad.engine, adagrad.optimizer);
  const std::string text =
      test::refusal([&] { restore_training_state(folder / "run", adam.engine, adam.optimizer); });
  EXPECT_NE(text.find("'embed.adam.mean': found none"), std::string::npos) << text;
  EXPECT_NE(text.find("'embed.adagrad.sum'"), std::string::npos) << text;
  EXPECT_EQ(adam.optimizer.steps(), 0);
  save_safetensors(folder / "empty", {});
  Training sgd(update_rule("sgd"));
  EXPECT_NE(test::refusal([&] {
              restore_training_state(folder / "empty", sgd.engine, sgd.optimizer);
            }).find("engine.step = ''"),
            std::string::npos);
}

TEST(TrainingState, BuffersAreThereOnceTheOptimizerKnowsTheParams) {
  Training run(update_rule("adam"));
  EXPECT_NE(test::refusal([&] { run.optimizer.buffers(); }).find("Engine::prepare"),
            std::string::npos);
  run.engine.prepare(run.optimizer);
  EXPECT_EQ(run.optimizer.buffers().size(), 2 * run.engine.program().params.size());
}

}  // namespace
}  // namespace espalier
