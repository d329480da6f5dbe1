// After warm-up a training step allocates nothing on the heap and compiles nothing: counted by a
// replaced operator new, and by the engine's own statistics.
#include <gtest/gtest.h>

#include "base/disk_cache.h"
#include "codegen/compiler.h"
#include "runtime/engine.h"
#include "scheduler/strategy.h"
#include "tests/runtime/forest.h"
#include "tests/support/allocations.h"
#include "training/optimizer.h"

namespace espalier::test {
namespace {

TEST(WarmStep, AllocatesAndCompilesNothing) {
  for (const models::ModelInfo& info : models::models()) {
    for (const scheduler::StrategyInfo& strategy : scheduler::strategies()) {
      for (const auto& [threads, spelled] : {std::pair{1, false}, {2, false}, {2, true}}) {
        SCOPED_TRACE(std::string(info.name) + " " + std::string(strategy.name));
        const std::string name(info.name);
        const auto model = make_model(name, 12, 20, 0.5);
        // Minibatches of changing shape; the first round is the warm-up.
        std::vector<std::vector<data::Tree>> minibatches;
        for (int seed = 0; seed < 4; ++seed)
          minibatches.push_back(random_forest(name, std::uint64_t(seed), 6));
        EngineOptions options;
        options.strategy = strategy.name;
        options.threads = threads;
        options.share = options.hoist = spelled;
        options.cache_directory = default_cache_directory();
        options.debug.verify = false;  // the checks themselves allocate
        Engine engine(model->program(), options);
        StandardOptimizer optimizer({.rule = update_rule("adagrad")});
        for (int round = 0; round < 3; ++round) {
          for (const std::vector<data::Tree>& trees : minibatches) {
            const std::size_t before = allocations();
            const Instances minibatch = engine.instances();
            for (std::size_t i = 0; i < trees.size(); ++i) {
              minibatch.begin_example(i);
              model->record_loss(minibatch, trees[i]);
            }
            const StepResult step = engine.train_step(minibatch, optimizer);
            if (round == 0) continue;
            EXPECT_EQ(allocations() - before, 0U);
            EXPECT_EQ(step.statistics.allocations, 0);
            EXPECT_EQ(step.statistics.compilations, 0);
          }
        }
      }
    }
  }
}

TEST(WarmStep, TheCountersCount) {
  const std::size_t before = allocations();
  ::operator delete(::operator new(1));
  EXPECT_EQ(allocations() - before, 1U);
  const auto model = make_model("tree_lstm", 12, 20);
  Engine engine(model->program());
  StandardOptimizer optimizer({.rule = update_rule("sgd")});
  const Instances minibatch = engine.instances();
  model->record_loss(minibatch, random_forest("tree_lstm", 1, 1)[0]);
  const StepStatistics statistics = engine.train_step(minibatch, optimizer).statistics;
  EXPECT_GT(statistics.allocations, 0);
  EXPECT_GT(statistics.compilations, 0);
}

}  // namespace
}  // namespace espalier::test
