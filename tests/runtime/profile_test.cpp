// Timed launches: all are there, in order, and what they compute stays the same bits.
#include <gtest/gtest.h>

#include <string>

#include "base/disk_cache.h"
#include "codegen/compiler.h"
#include "runtime/engine.h"
#include "runtime/step/statistics.h"
#include "tests/runtime/forest.h"
#include "training/optimizer.h"

namespace espalier::test {
namespace {

struct Steps {
  StepResult first, second;
  std::vector<LaunchProfile> launches;  ///< of the second step
  std::vector<std::string> kernels;     ///< theirs, which outlive the engine
};

Steps steps(bool profiling, int threads) {
  const auto model = make_model("tree_lstm", 12, 20);
  EngineOptions options;
  options.threads = threads;
  options.cache_directory = default_cache_directory();
  Engine engine(model->program(), options);
  StandardOptimizer optimizer({.rule = update_rule("adagrad")});
  engine.set_profiling(profiling);
  const auto step = [&] {
    const Instances minibatch = engine.instances();
    for (const data::Tree& tree : random_forest("tree_lstm", 1, 6))
      model->record_loss(minibatch, tree);
    return engine.train_step(minibatch, optimizer);
  };
  Steps result{.first = step(), .second = step(), .launches = {}, .kernels = {}};
  for (const LaunchProfile& launch : engine.profile()) {
    result.launches.push_back(launch);
    result.kernels.emplace_back(launch.kernel);
  }
  return result;
}

TEST(Profile, DescribesEveryLaunchAndChangesNothing) {
  EXPECT_TRUE(steps(false, 1).launches.empty());
  const Steps plain = steps(false, 2);
  for (const int threads : {1, 2}) {
    const Steps timed = steps(true, threads);
    EXPECT_EQ(timed.first.loss, plain.first.loss);
    EXPECT_EQ(timed.second.loss, plain.second.loss);
    ASSERT_EQ(timed.launches.size(), timed.second.statistics.launches);
    EXPECT_EQ(timed.kernels.front(), "leaf.forward");
    bool backward = false;
    for (std::size_t i = 0; i < timed.launches.size(); ++i) {
      const LaunchProfile& launch = timed.launches[i];
      const std::string& kernel = timed.kernels[i];
      EXPECT_GE(launch.seconds, 0);
      EXPECT_GT(launch.rows, 0);
      EXPECT_FALSE(backward && kernel == "node.forward");
      backward |= kernel == "node.backward";
      // Rows are read where they lie.
      const bool state = kernel.starts_with("leaf") || kernel.starts_with("node");
      EXPECT_TRUE(!state || launch.copied == 0) << kernel;
    }
    EXPECT_TRUE(backward);
  }
}

}  // namespace
}  // namespace espalier::test
