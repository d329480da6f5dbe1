// The engine owns everything for one model on one device: params, kernels, arenas, the minibatch
// being recorded. Programs make one from a model's program, record examples into its instances and
// ask for steps or values.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/record/instances.h"
#include "runtime/step/optimizer.h"
#include "runtime/step/options.h"
#include "runtime/step/profile.h"
#include "runtime/step/statistics.h"

namespace espalier {

class Engine {
 public:
  /// Kernels are compiled when they are first needed. UserError for an unknown strategy or target,
  /// a device that this build or machine lacks.
  explicit Engine(ir::Program program, EngineOptions options = {});
  ~Engine();
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;

  /// Begins a new minibatch; the one before and its calls become invalid. Its calls run when a
  /// value or a step asks for them.
  Instances instances(Mode mode = Mode::training);

  /// Runs the minibatch forward and backward and updates the params that a gradient reaches; others
  /// keep their values, whatever L2 or momentum the optimizer has. The objective is `scale` ×
  /// the sum of the marked losses; by default 1 / the number of begun examples, or of losses if no
  /// example was begun. UserError if no loss was marked or the minibatch was begun for inference.
  ///
  /// With a memory limit, a minibatch that is predicted to exceed it runs in parts, each of some
  /// examples (of some losses, if no example was begun) and what they depend on; gradients are
  /// summed, values are not kept. UserError if a single example takes too much, beside what has
  /// been recorded. `forward` and `value` do not split: UserError if the recorded does not fit.
  ///
  /// What the optimizer throws passes through and the step does not count; optimizer.h says what
  /// the params are then.
  StepResult train_step(const Instances& minibatch, Optimizer& optimizer,
                        std::optional<double> scale = {});
  /// Makes room in the optimizer for the state of the params, as its first step does: so it can be
  /// restored before that. UserError of the optimizer if it has another engine's.
  void prepare(Optimizer& optimizer) const;
  /// The same as train_step without the update: gradient() reads the result.
  StepResult gradients(const Instances& minibatch, std::optional<double> scale = {});
  /// Runs the minibatch forward and backward as a part of a larger one: its gradients, of `scale` ×
  /// its losses, are added to those accumulated since the last step, and the next train_step or
  /// gradients adds its own and takes all; give it its scale too. Losses of results count all
  /// minibatches so far.
  StepResult accumulate(const Instances& minibatch, double scale);
  /// Forgets what was accumulated since the last step.
  void forget_accumulated();
  /// Whether, to keep to a memory limit, what has been recorded had better run before more is
  /// recorded: its calls take a sixteenth of what the model leaves. Depends on them alone.
  bool recorded_enough() const;
  /// Bytes that the engine will hold at the most once what has been recorded has run (forward and,
  /// in training, backward), counted as StepStatistics::peak_bytes; what it holds now, if that is
  /// more. Runs nothing; compiles the kernels and schedules, which the step then need not. Where
  /// scheduling alone would exceed the memory limit: what that takes.
  std::int64_t forecast_bytes(const Instances& minibatch);
  /// Runs what has been recorded and not run yet; the loss is that of the marked losses.
  StepResult forward(const Instances& minibatch, std::optional<double> scale = {});

  /// Field `field` of a call's outputs, in C order; runs what is needed so far if it has not run
  /// yet, and recording may go on. Valid until the next instance runs.
  std::span<const float> value(const ir::CallHandle& call, int field = 0);

  /// A param's values in C order. UserError with the nearest name if there is none. The mutable
  /// form may be written to until the next step.
  std::span<float> param(std::string_view name);
  std::span<const float> param(std::string_view name) const;
  /// A param's gradient by the last train_step or gradients, dense, in C order; zeros for a param
  /// that no gradient reaches (one that all cells read behind stop_gradient, or not at all).
  /// UserError as of parameter, and before there was one.
  std::vector<float> gradient(std::string_view name) const;

  /// Number of steps taken: dropout is keyed by it. Set it to go on with a saved run.
  std::uint64_t step() const;
  void set_step(std::uint64_t step);

  const ir::Program& program() const;
  const EngineOptions& options() const;
  /// Name of the target that kernels are compiled for: "avx512", or "sm_90" on a GPU.
  const std::string& target() const;
  /// Seconds spent compiling so far, and kernels compiled, loaded from disk.
  struct Compilation {
    double seconds = 0;
    std::int64_t compiled = 0, from_disk = 0;
  };
  Compilation compilation() const;

  /// What went wrong so far and the engine goes on without, such as a kernel cache that cannot be
  /// written; each is there once, in their order. Valid until the next call.
  std::span<const std::string> warnings() const;

  /// Whether launches from here on are timed one by one, which slows them down a little; off at
  /// first, and never where a forward pass is checked for finite values.
  void set_profiling(bool on);
  /// The timed launches of the minibatch so far, in order. Valid until the next instance runs.
  std::span<const LaunchProfile> profile() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace espalier
