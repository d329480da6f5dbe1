#include "app/train.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "app/commands.h"
#include "app/evaluation.h"
#include "app/log_stream.h"
#include "app/run_report.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "data/minibatches.h"
#include "ir/text/print.h"
#include "models/models.h"
#include "training/checkpoint.h"
#include "training/engine_task.h"
#include "training/interrupt.h"
#include "training/loop.h"
#include "training/progress.h"
#include "training/run_folder.h"

namespace espalier::app {
namespace {

namespace fs = std::filesystem;

/// What a user meets first when data and model do not fit: a tree without any loss.
void check_labels(std::span<const data::Tree> trees, models::LabelsAt labels_at) {
  for (std::size_t i = 0; i < trees.size(); ++i) {
    const data::Tree& tree = trees[i];
    bool labelled = tree.label(tree.root()) != data::Tree::kNone;
    if (labels_at == models::LabelsAt::every_node)
      for (int node = 0; node < tree.size() && !labelled; ++node)
        labelled = tree.label(node) != data::Tree::kNone;
    user_check(labelled, "training tree {}: found no label {}, expected one{}", i + 1,
               labels_at == models::LabelsAt::root ? "at its root" : "at any node",
               labels_at == models::LabelsAt::root ? " (--loss every-node needs none there)" : "");
  }
}

std::int64_t count_params(const ir::Program& program) {
  std::int64_t sum = 0;
  for (const ir::Param& param : program.params) sum += param.shape.size();
  return sum;
}

/// What stays of a run in its folder, or nothing if that is not wanted.
class KeptRun {
 public:
  /// Locks the folder. UserError if another run saves there, or a model or a file called as one of
  /// a run's would be replaced.
  explicit KeptRun(const TrainOutputs& outputs) {
    if (outputs.folder.empty()) return;
    folder_.emplace(outputs.folder);
    if (outputs.overwrite) return;
    user_check(!holds_model(folder_->path()),
               "{}: found a saved model, expected none (--overwrite replaces it)", outputs.folder);
    for (const char* file : {kConfigFile, kLogFile, kMetricsFile, kEpochsFile, kVocabularyFile}) {
      std::error_code absent;
      user_check(!fs::exists(fs::symlink_status(folder_->path() / file, absent)),
                 "{}: found {}, expected none (--overwrite replaces it)", outputs.folder, file);
    }
  }

  /// Before the first epoch. UserError if save_model could not do it.
  void begin(const RunConfig& config, const data::Dataset& dataset, const models::TreeModel& model,
             LogStream& log) {
    if (!folder_) return;
    config_ = json_text(to_json(config));
    model_ = {.name = config.model,
              .program = ir::print(model.program()),
              .settings = saved_settings(config, dataset),
              .vocabulary = {}};
    for (int id = 0; id < dataset.vocabulary.size(); ++id)
      tokens_.push_back(dataset.vocabulary.token(id));
    check_savable(model_, tokens_);
    // What is beside a model that is there stays until there is another.
    const bool replaces = holds_model(folder_->path());
    log.keep_in(folder_->path() / kLogFile, replaces);
    if (!replaces) save(kConfigFile, config_);
  }

  void save(std::string_view file, const std::string& text) const {
    if (!folder_) return;
    const std::string_view piece = text;
    write_atomically(folder_->path() / file, {&piece, 1});
  }

  void save_model(const Engine& engine, int epoch, LogStream& log) {
    if (!folder_) return;
    espalier::save_model(*folder_, model_, tokens_, param_tensors(engine),
                         {{"epoch", std::to_string(epoch)}}, {{kConfigFile, config_}});
    // Those of the model that was there.
    if (std::exchange(saved_, true)) return;
    log.show_file();
    for (const char* file : {kMetricsFile, kEpochsFile}) {
      std::error_code absent;
      fs::remove(folder_->path() / file, absent);
    }
  }

  void save_metrics(const RunReport& report) const {
    save(kMetricsFile, json_text(to_json(report)));
    save(kEpochsFile, epochs_csv(report));
  }

 private:
  static constexpr const char* kLogFile = "training.log";
  static constexpr const char* kConfigFile = "config.json";
  static constexpr const char* kMetricsFile = "metrics.json";
  static constexpr const char* kEpochsFile = "metrics.csv";
  static constexpr const char* kVocabularyFile = "vocab.txt";

  std::optional<RunFolder> folder_;
  SavedModel model_;
  std::vector<std::string> tokens_;
  std::string config_;
  bool saved_ = false;
};

/// One run: the parts that the loop calls, and what they measure.
class Trainer {
 public:
  Trainer(const RunConfig& config, const TrainOutputs& outputs)
      : config_(config),
        kept_(outputs),
        log_(std::cerr),
        dataset_(load(config.data, config.model)),
        model_(models::find_model(config.model).make(model_options(config, dataset_))),
        engine_(model_->program(), config.engine),
        optimizer_(optimizer_options(config)),
        minibatches_(static_cast<int>(dataset_.train.size()), config.batch, config.seed),
        progress_(log_, detect_terminal(STDERR_FILENO, outputs.color), "trees"),
        report_(config, dataset_) {
    check_labels(dataset_.train, config.labels_at);
    kept_.begin(config, dataset_, *model_, log_);
    report_.params = count_params(model_->program());
    report_.target = engine_.target();
    report_.threads = engine_.options().threads;
    for (const std::string& note : dataset_.notes) progress_.line("note: " + note);
    progress_.line(fmt::format("{}: {}", config.data.spec, describe(dataset_)));
    progress_.line(fmt::format("{}: {} params; strategy {}, target {}, {} {}", config.model,
                               report_.params, config.engine.strategy, report_.target,
                               report_.threads, report_.threads == 1 ? "thread" : "threads"));
  }

  const RunReport& run() {
    const TrainingTask task{
        .begin_epoch = [&](int epoch) { return begin_epoch(epoch); },
        .step = [&](int minibatch) { return step(minibatch); },
        .evaluate = [&] { return accuracy(dataset_.dev).accuracy(); },
        .keep = [&](const EpochReport& epoch) { keep(epoch.epoch); },
        .interrupted = [&] { return guard_.interrupted(); },
    };
    report_.training =
        espalier::train({.epochs = config_.epochs,
                         .patience = config_.patience,
                         .schedule = config_.schedule,
                         .metric = fmt::format("dev acc ({})", metric_name(config_.labels_at))},
                        task, optimizer_, progress_);
    best_.restore(engine_);
    if (!report_.training.interrupted) report_.test = accuracy(dataset_.test);
    report_.compilation = engine_.compilation();
    report_.seconds = progress_.now() - begun_;
    kept_.save_metrics(report_);
    return report_;
  }

  std::ostream& log() { return log_; }
  /// Of an interrupted run.
  int exit_status() const { return guard_.exit_status(); }

 private:
  EpochSize begin_epoch(int epoch) {
    minibatches_.start_epoch(epoch);
    report_.epochs.emplace_back();
    return {.minibatches = minibatches_.size(), .examples = std::ssize(dataset_.train)};
  }

  void record(const Instances& calls, int minibatch, int position) {
    const double before = progress_.now();
    const int example = minibatches_[minibatch][static_cast<std::size_t>(position)];
    calls.begin_example(static_cast<std::uint64_t>(example));
    model_->record_loss(calls, dataset_.train[static_cast<std::size_t>(example)]);
    record_seconds_ += progress_.now() - before;
  }

  MinibatchReport step(int minibatch) {
    const double before = progress_.now();
    record_seconds_ = 0;
    const MinibatchReport report = engine_step_(minibatch);
    for (; warnings_ < engine_.warnings().size(); ++warnings_)
      progress_.line("warning: " + engine_.warnings()[warnings_]);
    const double seconds = progress_.now() - before;
    for (StepTotals* totals : {&report_.totals, &report_.epochs.back()}) {
      ++totals->steps;
      totals->allocations += report.statistics.allocations;
      totals->compilations += report.statistics.compilations;
      totals->record_seconds += record_seconds_;
      if (report.statistics.compilations > 0) continue;
      totals->warm_examples += report.examples;
      totals->warm_seconds += seconds;  // recording is a part of the step
    }
    return report;
  }

  Evaluation accuracy(std::span<const data::Tree> trees) {
    return evaluate(engine_, *model_, trees, is_sentiment(dataset_));
  }

  void keep(int epoch) {
    best_.take(engine_);
    kept_.save_model(engine_, epoch, log_);
  }

  InterruptGuard guard_;
  double begun_ = steady_seconds();
  const RunConfig& config_;
  KeptRun kept_;
  LogStream log_;
  data::Dataset dataset_;
  std::unique_ptr<models::TreeModel> model_;
  Engine engine_;
  StandardOptimizer optimizer_;
  data::Minibatches minibatches_;
  Progress progress_;
  std::function<MinibatchReport(int)> engine_step_ = engine_step(
      engine_, optimizer_,
      [this](int minibatch) { return static_cast<int>(minibatches_[minibatch].size()); },
      [this](const Instances& calls, int minibatch, int position) {
        record(calls, minibatch, position);
      });
  double record_seconds_ = 0;  // of the last step
  std::size_t warnings_ = 0;   // of the engine's, that were said
  ParamSnapshot best_;
  RunReport report_;
};

}  // namespace

int train(const RunConfig& config, const TrainOutputs& outputs) {
  Trainer trainer(config, outputs);
  const RunReport& report = trainer.run();
  (outputs.json == "-" ? trainer.log() : std::cout) << to_text(report) << std::flush;
  if (!outputs.json.empty()) write_json(outputs.json, to_json(report));
  if (!report.training.interrupted) return kDone;
  trainer.log() << "interrupted"
                << (outputs.folder.empty() ? std::string("; nothing was saved (--save does)")
                                           : "; the model is saved in " + outputs.folder)
                << std::endl;
  return trainer.exit_status();
}

}  // namespace espalier::app
