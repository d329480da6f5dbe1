// What joins a training run and an engine: the loop's step, and the params on their way to and from
// files. Used by the command and by users' programs.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "runtime/engine.h"
#include "training/loop.h"
#include "training/safetensors.h"

namespace espalier {

/// A TrainingTask's step on an engine: `record` records the examples of a minibatch and marks their
/// losses, `engine_step` averages them over the examples and takes the step. All must outlive the
/// result.
std::function<MinibatchReport(int minibatch)> engine_step(
    Engine& engine, Optimizer& optimizer,
    std::function<void(const Instances& calls, int minibatch)> record);

/// The same, example by example: a minibatch has `examples`, of which `record` begins and records
/// one. Under a memory limit what has been recorded runs before it takes too much of it.
std::function<MinibatchReport(int minibatch)> engine_step(
    Engine& engine, Optimizer& optimizer, std::function<int(int minibatch)> examples,
    std::function<void(const Instances& calls, int minibatch, int example)> record);

/// A copy of an engine's params, e.g. those of the best epoch.
class ParamSnapshot {
 public:
  /// Takes the values as they are; reuses its memory.
  void take(const Engine& engine);
  /// Puts them back. Nothing happens if none were taken.
  void restore(Engine& engine) const;

 private:
  std::vector<std::vector<float>> values_;  // [params]
};

/// The params as tensors to save, which view the engine's values.
std::vector<SafeTensor> param_tensors(const Engine& engine);

/// Puts values in the order of the program's params into the engine, as load_weights gives them.
void set_params(Engine& engine, std::span<const std::vector<float>> values);

}  // namespace espalier
