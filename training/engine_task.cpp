#include "training/engine_task.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "ir/record/recorder.h"

namespace espalier {

std::function<MinibatchReport(int minibatch)> engine_step(
    Engine& engine, Optimizer& optimizer,
    std::function<void(const Instances& calls, int minibatch)> record) {
  return [&engine, &optimizer, record = std::move(record)](int minibatch) -> MinibatchReport {
    const Instances calls = engine.instances(Mode::training);
    record(calls, minibatch);
    const StepResult step = engine.train_step(calls, optimizer);
    // As the engine averages.
    const ir::Recorder& recorder = calls.recorder();
    const std::size_t begun = recorder.graph().examples();
    const std::size_t examples = begun > 0 ? begun : recorder.losses().size();
    return {.loss = step.loss,
            .examples = static_cast<std::int64_t>(examples),
            .statistics = step.statistics};
  };
}

std::function<MinibatchReport(int minibatch)> engine_step(
    Engine& engine, Optimizer& optimizer, std::function<int(int minibatch)> examples,
    std::function<void(const Instances& calls, int minibatch, int example)> record) {
  return [&engine, &optimizer, examples = std::move(examples),
          record = std::move(record)](int minibatch) {
    const int count = examples(minibatch);
    const double scale = 1.0 / count;
    MinibatchReport report{.examples = count};
    const auto add = [&](const StepResult& part) {
      report.loss = part.loss;  // with those before
      report.statistics += part.statistics;
    };
    engine.forget_accumulated();  // by a minibatch that something thrown ended
    Instances calls = engine.instances(Mode::training);
    for (int example = 0; example < count; ++example) {
      record(calls, minibatch, example);
      if (example + 1 == count || !engine.recorded_enough()) continue;
      if (calls.recorder().losses().empty()) continue;
      add(engine.accumulate(calls, scale));
      calls = engine.instances(Mode::training);
    }
    add(engine.train_step(calls, optimizer, scale));
    return report;
  };
}

void ParamSnapshot::take(const Engine& engine) {
  const std::vector<ir::Param>& params = engine.program().params;
  values_.resize(params.size());
  for (std::size_t i = 0; i < params.size(); ++i) {
    const std::span<const float> values = engine.param(params[i].name);
    values_[i].assign(values.begin(), values.end());
  }
}

void ParamSnapshot::restore(Engine& engine) const {
  if (!values_.empty()) set_params(engine, values_);
}

std::vector<SafeTensor> param_tensors(const Engine& engine) {
  std::vector<SafeTensor> tensors;
  for (const ir::Param& param : engine.program().params) {
    std::vector<std::int64_t> shape;
    for (int axis = 0; axis < param.shape.rank(); ++axis) shape.push_back(param.shape[axis]);
    tensors.push_back(float_tensor(param.name, std::move(shape), engine.param(param.name)));
  }
  return tensors;
}

void set_params(Engine& engine, std::span<const std::vector<float>> values) {
  const std::vector<ir::Param>& params = engine.program().params;
  internal_check(values.size() == params.size(), "{} values for {} params", values.size(),
                 params.size());
  for (std::size_t i = 0; i < params.size(); ++i) {
    const std::span<float> to = engine.param(params[i].name);
    internal_check(values[i].size() == to.size(), "{} values for param '{}'", values[i].size(),
                   params[i].name);
    std::ranges::copy(values[i], to.begin());
  }
}

}  // namespace espalier
