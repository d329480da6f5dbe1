// Helpers of the tests of engines on a GPU: runs, comparisons, and settings of the stand-in.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "runtime/cuda/devices.h"
#include "runtime/engine.h"
#include "scheduler/strategy.h"
#include "tests/runtime/engine_runs.h"

namespace espalier::test {

inline constexpr int embed = 12, hidden = 20;

/// Compares with a tolerance of `epsilons` roundings of the largest expected value.
inline void expect_near(const std::vector<float>& actual, const std::vector<float>& expected,
                        double epsilons, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double largest = 1e-6;
  for (const float x : expected) largest = std::max(largest, std::abs(double(x)));
  for (std::size_t i = 0; i < expected.size(); ++i)
    ASSERT_NEAR(actual[i], expected[i], epsilons * 0x1p-24 * largest) << what << " at " << i;
}

/// Whether the GPU is the stand-in of tests/support/fake_cuda, whose environment variables have an
/// effect.
inline bool on_stand_in() {
  return runtime::find_cuda().gpus.at(0).name == "this machine's processor";
}

/// Sets an environment variable until the end of the scope.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
  ~Variable() { ::unsetenv(name_); }

 private:
  const char* name_;
};

/// Sets what the stand-in for cuBLAS offers, under a fresh version number, so that no cached trials
/// apply.
class Release {
 public:
  explicit Release(const std::string& offers)
      : number_(std::to_string(std::chrono::steady_clock::now().time_since_epoch().count() %
                               1'000'000'000)),
        offers_("ESPALIER_FAKE_CUBLAS", (number_ + " " + offers).c_str()) {}
  const std::string& number() const { return number_; }

 private:
  std::string number_;
  Variable offers_;
};

inline Instances recorded(Engine& engine, models::TreeModel& model,
                          const std::vector<data::Tree>& trees) {
  const Instances minibatch = engine.instances();
  for (std::size_t i = 0; i < trees.size(); ++i) {
    minibatch.begin_example(i);
    model.record_loss(minibatch, trees[i]);
  }
  return minibatch;
}

/// Expects that engines on the GPU, made with the options on_gpu(strategy), give the same results
/// as those on the CPU.
template <class Options>
void expect_equals_the_cpu(const std::string& name, const Options& on_gpu) {
  const auto trees = random_forest(name, 9, 7);
  const auto model = make_model(name, embed, hidden, 0.3);
  std::vector<std::vector<float>> first;
  for (const scheduler::StrategyInfo& strategy : scheduler::strategies()) {
    SCOPED_TRACE(strategy.name);
    Engine cpu(model->program(), options({"", std::string(strategy.name), "", 1}));
    Engine gpu(model->program(), on_gpu(strategy.name));
    for (Engine* engine : {&cpu, &gpu}) randomize(*engine, 4);
    const Outcome expected = outcome(cpu, *model, trees, all(trees));
    const Outcome actual = outcome(gpu, *model, trees, all(trees));
    EXPECT_NEAR(actual.loss, expected.loss, 256 * 0x1p-24 * std::abs(expected.loss));
    EXPECT_NEAR(actual.norm, expected.norm, 1e-5 * expected.norm);
    for (std::size_t i = 0; i < expected.losses.size(); ++i)
      expect_near(actual.losses[i], expected.losses[i], 256, "losses");
    for (std::size_t p = 0; p < expected.gradients.size(); ++p)
      expect_near(actual.gradients[p], expected.gradients[p], 1024, gpu.program().params[p].name);
    // The strategy does not change any bit of the losses.
    if (first.empty()) first = actual.losses;
    EXPECT_EQ(actual.losses, first);
    // Nor does the rest of the minibatch.
    const std::vector<int> some{5, 1, 3};
    const Outcome part = outcome(gpu, *model, trees, some);
    for (std::size_t i = 0; i < some.size(); ++i)
      EXPECT_EQ(part.losses[i], first[std::size_t(some[i])]);
  }
}

}  // namespace espalier::test
