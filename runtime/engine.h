// The engine owns everything for one model on one device: params, kernels, arenas and the minibatch
// that is being recorded. User programs make one from a model's program, record examples into its
// instances and ask for steps or values.
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
#include "runtime/step/statistics.h"

namespace espalier {

class Engine {
 public:
  /// Kernels are compiled when they are first needed. UserError for an unknown strategy or target,
  /// or a device that this build or machine lacks.
  explicit Engine(ir::Program program, EngineOptions options = {});
  ~Engine();
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;

  /// Begins a new minibatch; the one before it and its calls become invalid. Calls run when a value
  /// or a step needs them.
  Instances instances(Mode mode = Mode::training);

  /// Runs the minibatch forward and backward and updates the params that a gradient reaches; others
  /// keep their values, whatever L2 or momentum the optimizer has. The objective is `scale` ×
  /// the sum of the marked losses; by default 1 / the number of begun examples, or of losses if no
  /// example was begun. UserError if no loss was marked or the minibatch was begun for inference.
  ///
  /// With a memory limit, a minibatch whose forecast exceeds it runs in parts, each of some
  /// examples (of some losses, if no example was begun) and what they depend on; gradients are
  /// summed, values are not kept. UserError if a single example and the recorded calls together
  /// take too much. `forward` and `value` do not split: UserError if what has been recorded does
  /// not fit.
  ///
  /// Exceptions of the optimizer pass through and the step does not count; optimizer.h says what
  /// the params are then.
  StepResult train_step(const Instances& minibatch, Optimizer& optimizer,
                        std::optional<double> scale = {});
  /// Makes room in the optimizer for the state of the params, as its first step would, so that a
  /// saved state can be restored before it. UserError of the optimizer if it belongs to other
  /// params.
  void prepare(Optimizer& optimizer) const;
  /// As train_step but without the update: gradient() reads the result.
  StepResult gradients(const Instances& minibatch, std::optional<double> scale = {});
  /// Runs the minibatch forward and backward as a part of a larger one: the gradients of `scale` ×
  /// its losses are added to those accumulated since the last step. The next train_step or
  /// gradients adds its own and uses the sum; give it the same scale. The loss of a result is that
  /// of all minibatches accumulated so far.
  ///
  /// A step that is refused leaves what was accumulated as it is. If a step fails when it has begun
  /// to add to it, what was accumulated is lost: every further step is then a UserError until
  /// forget_accumulated() is called.
  StepResult accumulate(const Instances& minibatch, double scale);
  /// Forgets what was accumulated since the last step.
  void forget_accumulated();
  /// Whether, to keep to a memory limit, what has been recorded should run before more is recorded:
  /// its calls take a sixteenth of what the params leave. Depends on nothing but those calls.
  bool recorded_enough() const;
  /// Upper bound on the bytes that the engine will hold once what has been recorded has run
  /// (forward and, in training, backward), counted as StepStatistics::peak_bytes; at least what it
  /// holds now. Runs nothing, but compiles and schedules, so the step need not. If scheduling alone
  /// would exceed the memory limit: what that takes.
  std::int64_t forecast_bytes(const Instances& minibatch);
  /// Runs what has been recorded and has not run yet; the result has the sum of the marked losses.
  StepResult forward(const Instances& minibatch, std::optional<double> scale = {});

  /// Field `field` of a call's outputs, in C order. Runs what has been recorded if the call has not
  /// run yet; recording may go on. Valid until the next instance runs. UserError if the minibatch
  /// ran in parts and has not run forward as a whole since.
  std::span<const float> value(const ir::CallHandle& call, int field = 0);

  /// A param's values in C order. UserError with the nearest name if there is none. The mutable
  /// form may be written to until the next step.
  std::span<float> param(std::string_view name);
  std::span<const float> param(std::string_view name) const;
  /// A param's gradient by the last train_step or gradients, dense, in C order; zeros for a param
  /// that no gradient reaches (one that all cells read behind stop_gradient, or not at all).
  /// UserError if there is no such param, and before the first step.
  std::vector<float> gradient(std::string_view name) const;

  /// Number of steps taken, which dropout is keyed by. Set it to continue a saved run.
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

  /// Problems so far that the engine could work around, such as a kernel cache that cannot be
  /// written; each once, in order. Valid until the next call.
  std::span<const std::string> warnings() const;

  /// Whether launches from here on are timed one by one, which slows them down a little. Off by
  /// default; launches that are checked for finite values are not timed.
  void set_profiling(bool on);
  /// The timed launches of the minibatch so far, in order. Valid until the next instance runs.
  std::span<const LaunchProfile> profile() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace espalier
