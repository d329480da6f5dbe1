#include "training/loop.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "base/error.h"
#include "training/rate_schedule.h"

namespace espalier {

namespace {

/// One call of train().
class Run {
 public:
  Run(const TrainingOptions& options, const TrainingTask& task, Optimizer& optimizer,
      Progress& progress)
      : options_(options), task_(task), rate_(optimizer.learning_rate()), progress_(progress) {}

  TrainingResult run() {
    user_check(options_.epochs >= 1, "training: found {} epochs, expected at least 1",
               options_.epochs);
    user_check(rate_ || options_.schedule.is_constant(),
               "training: found the learning rate schedule '{}' with {} warm-up steps for an "
               "optimizer without a learning rate, expected 'constant' without any",
               options_.schedule.kind, options_.schedule.warmup_steps);
    begun_ = progress_.now();
    for (int epoch = 0; epoch < options_.epochs; ++epoch) {
      EpochReport report = steps(epoch);
      if (result_.interrupted) {
        progress_.line(fmt::format("interrupted in epoch {}/{} after {} examples", report.epoch,
                                   report.epochs, report.examples));
        // What the epochs before have left is better than half an epoch more.
        if (result_.best_epoch == 0) keep(report);
        break;
      }
      finish(report);
      if (interrupted()) break;
      if (options_.patience > 0 && report.epoch - result_.best_epoch >= options_.patience) {
        result_.stopped_early = report.epoch < options_.epochs;
        break;
      }
    }
    return std::move(result_);
  }

 private:
  bool interrupted() {
    result_.interrupted = result_.interrupted || (task_.interrupted && task_.interrupted());
    return result_.interrupted;
  }

  void keep(const EpochReport& report) {
    if (task_.keep) task_.keep(report);
  }

  /// The steps of an epoch, or of its first part.
  EpochReport steps(int epoch) {
    EpochReport report{.epoch = epoch + 1, .epochs = options_.epochs};
    epoch_begun_ = progress_.now();
    const EpochSize size = task_.begin_epoch(epoch);
    progress_.begin(fmt::format("epoch {}/{}", report.epoch, report.epochs), size.examples);
    const std::int64_t total = std::int64_t{size.minibatches} * options_.epochs;
    double loss = 0, seconds = 0;
    for (int minibatch = 0; minibatch < size.minibatches; ++minibatch) {
      if (rate_) rate_->set_rate_factor(rate_factor(options_.schedule, result_.steps, total));
      const double before = progress_.now();
      const MinibatchReport step = task_.step(minibatch);
      seconds += progress_.now() - before;
      loss += step.loss * static_cast<double>(step.examples);
      report.examples += step.examples;
      result_.statistics += step.statistics;
      ++result_.steps;
      progress_.advance(step.examples, loss / static_cast<double>(report.examples));
      if (interrupted()) break;
    }
    progress_.end();
    const auto examples = static_cast<double>(report.examples);
    report.loss = loss / examples;
    if (rate_) report.lr = rate_->rate();
    report.examples_per_second = seconds > 0 ? examples / seconds : 0;
    result_.examples += report.examples;
    result_.training_seconds += seconds;
    return report;
  }

  /// Evaluates, keeps the model if it is the best so far, and says so.
  void finish(EpochReport& report) {
    report.best = true;
    if (task_.evaluate) {
      report.dev_accuracy = task_.evaluate();
      report.best = result_.best_epoch == 0 || std::isnan(report.dev_accuracy) ||
                    report.dev_accuracy > best_accuracy_;
    }
    if (report.best) {
      best_accuracy_ = report.dev_accuracy;
      result_.best_epoch = report.epoch;
      keep(report);
    }
    const double now = progress_.now();
    report.seconds = now - epoch_begun_;
    report.eta_seconds = (now - begun_) / report.epoch * (report.epochs - report.epoch);
    progress_.line(epoch_line(report, options_.metric, progress_.unit()));
    result_.epochs.push_back(report);
  }

  const TrainingOptions& options_;
  const TrainingTask& task_;
  LearningRate* const rate_;  // null: the optimizer has none
  Progress& progress_;
  TrainingResult result_;
  double begun_ = 0, epoch_begun_ = 0, best_accuracy_ = 0;
};

}  // namespace

TrainingResult train(const TrainingOptions& options, const TrainingTask& task, Optimizer& optimizer,
                     Progress& progress) {
  return Run(options, task, optimizer, progress).run();
}

}  // namespace espalier
