// What tests of the engine run and compare: engines of a setting, and the outcome of one pass over
// a forest of the model zoo.
#pragma once

#include <string>
#include <vector>

#include "base/disk_cache.h"
#include "codegen/compiler.h"
#include "ir/record/recorder.h"
#include "tests/runtime/forest.h"

namespace espalier::test {

struct Outcome {
  double loss = 0, norm = 0;
  std::vector<std::vector<float>> gradients;
  std::vector<std::vector<float>> losses;  ///< of each example, in order; none op by op
};

/// The value of each loss of a minibatch that has run, recorded at granularity `cell`.
inline std::vector<float> loss_values(Engine& engine, ir::Recorder& recorder) {
  std::vector<ir::CallId> call_of(recorder.graph().size());  // instance → a call that it holds
  for (ir::CallId call = 0; call < recorder.size(); ++call)
    call_of[recorder.instance(call, 0).first] = call;
  std::vector<float> values;
  for (const ir::InstanceId loss : recorder.losses())
    values.push_back(engine.value(recorder.handle(call_of[loss]))[0]);
  return values;
}

/// One forward and backward pass; examples keep their ids in `order`.
inline Outcome outcome(Engine& engine, models::TreeModel& model,
                       const std::vector<data::Tree>& trees, const std::vector<int>& order) {
  const Instances minibatch = engine.instances();
  std::vector<std::size_t> ends{0};
  for (int i : order) {
    minibatch.begin_example(std::uint64_t(i));
    model.record_loss(minibatch, trees[std::size_t(i)]);
    ends.push_back(minibatch.recorder().losses().size());
  }
  const StepResult step = engine.gradients(minibatch);
  Outcome result{step.loss, step.gradient_norm, {}, {}};
  for (const ir::Param& param : engine.program().params)
    result.gradients.push_back(engine.gradient(param.name));
  if (minibatch.recorder().granularity() != ir::Granularity::cell) return result;
  const std::vector<float> losses = loss_values(engine, minibatch.recorder());
  for (std::size_t i = 0; i + 1 < ends.size(); ++i)
    result.losses.emplace_back(losses.begin() + std::ptrdiff_t(ends[i]),
                               losses.begin() + std::ptrdiff_t(ends[i + 1]));
  return result;
}

inline std::vector<int> all(const std::vector<data::Tree>& trees) {
  std::vector<int> order;
  for (std::size_t i = 0; i < trees.size(); ++i) order.push_back(int(i));
  return order;
}

struct Setting {
  std::string model, strategy, target;
  int threads = 1;
  ir::Granularity granularity = ir::Granularity::cell;
};

inline EngineOptions options(const Setting& setting) {
  EngineOptions options;
  options.strategy = setting.strategy;
  options.threads = setting.threads;
  options.target = setting.target;
  options.granularity = setting.granularity;
  options.debug.verify = true;
  options.cache_directory = default_cache_directory();
  return options;
}

}  // namespace espalier::test
