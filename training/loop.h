// The epochs of a run: steps over the minibatches, progress, evaluation, the best model so far,
// early stopping, Ctrl-C. Called by the command, or by a user's program; what a minibatch is and
// how it is evaluated stays with the caller.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/step/optimizer.h"
#include "runtime/step/statistics.h"
#include "training/progress.h"

namespace espalier {

/// How the learning rate changes over a run.
struct RateSchedule {
  std::string kind =
      "constant";  ///< one of rate_schedules() in training/rate_schedule.h: "constant", "linear", …
  std::int64_t warmup_steps = 0;  ///< over which the factor rises linearly to 1

  /// Whether the factor is 1 in every step.
  bool is_constant() const { return kind == "constant" && warmup_steps == 0; }
};

struct TrainingOptions {
  int epochs = 10;
  int patience = 0;  ///< stop after so many epochs without a better dev accuracy; 0: never
  RateSchedule schedule = {};
  std::string metric = "dev acc";  ///< what `evaluate` gives, for the line of an epoch
};

/// What a minibatch brought.
struct MinibatchReport {
  double loss = 0;  ///< mean over the examples
  std::int64_t examples = 0;
  StepStatistics statistics = {};
};

/// An epoch's size, known when it begins.
struct EpochSize {
  int minibatches = 0;
  std::int64_t examples = 0;
};

/// The parts of a run. Epochs and minibatches count from 0.
struct TrainingTask {
  /// Puts the examples of an epoch in order.
  std::function<EpochSize(int epoch)> begin_epoch;
  /// Takes one step on a minibatch of it; engine_step (training/engine_task.h) gives one.
  std::function<MinibatchReport(int minibatch)> step;
  /// Gives the dev accuracy after an epoch. Null, or not a number: none, and every epoch is the
  /// best so far.
  std::function<double()> evaluate = nullptr;
  /// Keeps the model as it is now: after each epoch that is the best so far, and on an interrupt
  /// before the first epoch has ended. Null: nothing is kept.
  std::function<void(const EpochReport&)> keep = nullptr;
  /// Asked after every step and evaluation: end the run here? Null: never.
  std::function<bool()> interrupted = nullptr;
};

struct TrainingResult {
  std::vector<EpochReport> epochs;  ///< those that ended
  int best_epoch = 0;               ///< from 1; 0 if none ended
  bool interrupted = false;
  bool stopped_early = false;  ///< patience ran out
  std::int64_t steps = 0;
  std::int64_t examples = 0;
  double training_seconds = 0;  ///< in steps alone
  StepStatistics statistics;  ///< summed over the steps; bytes_held and peak_bytes are of the last
};

/// Runs the epochs and writes a line for each to `progress`. UserError if the learning rate is to
/// change and the optimizer has none; those of the parts and of the optimizer (divergence) pass
/// through.
TrainingResult train(const TrainingOptions& options, const TrainingTask& task, Optimizer& optimizer,
                     Progress& progress);

}  // namespace espalier
