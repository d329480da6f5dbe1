#include "app/bench_step.h"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>

#include "base/error.h"
#include "bench/measure/flops.h"
#include "bench/measure/step_work.h"
#include "data/minibatches.h"
#include "ir/record/recorder.h"
#include "models/models.h"
#include "scheduler/cell_graph.h"
#include "scheduler/schedule.h"
#include "scheduler/strategy.h"
#include "training/checkpoint.h"
#include "training/engine_task.h"
#include "training/progress.h"

namespace espalier::app {
namespace {

constexpr std::size_t fewest_steps = 10;

/// What is left over at the end of a round is not used.
std::size_t count_minibatches(const data::Dataset& dataset, int batch) {
  user_check(dataset.train.size() >= static_cast<std::size_t>(batch),
             "{}: found {} training trees, expected at least one minibatch of {}", dataset.name,
             dataset.train.size(), batch);
  return dataset.train.size() / static_cast<std::size_t>(batch);
}

std::int64_t resident_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * 1024;
}

class StepBench {
 public:
  explicit StepBench(const StepBenchConfig& config)
      : config_(config),
        dataset_(load(config.run.data, config.run.model)),
        model_(models::find_model(config.run.model).make(model_options(config.run, dataset_))),
        engine_(model_->program(), config.run.engine),
        optimizer_({.rule = optimizer_options(config.run).rule}),
        minibatches_(count_minibatches(dataset_, config.run.batch)),
        order_(in_file_order()) {
    report_.target = engine_.target();
    report_.on_gpu = engine_.options().device == Device::cuda;
    report_.threads = engine_.options().threads;
    report_.notes = dataset_.notes;
    report_.classes = dataset_.classes;
    report_.vocabulary = dataset_.vocabulary.size();
    report_.minibatches_a_round = minibatches_;
    for (const ir::Param& param : model_->program().params) report_.params += param.shape.size();
  }

  StepBenchReport run() {
    exchange_weights();
    for (int i = 0; i < config_.check_steps; ++i)
      report_.first_losses.push_back(step(static_cast<std::size_t>(i) % minibatches_).loss);
    measure_machine(/*memory=*/false);
    warm_up();
    measure();
    profile();
    report_.peak_resident_bytes = resident_bytes();
    report_.warnings.assign(engine_.warnings().begin(), engine_.warnings().end());
    measure_machine(/*memory=*/true);
    add_all_facts();
    return std::move(report_);
  }

 private:
  data::Minibatches in_file_order() const {
    return {static_cast<int>(dataset_.train.size()), config_.run.batch, config_.run.seed};
  }

  /// Places in the training split, in the order of now.
  std::span<const int> places(std::size_t minibatch) const {
    return order_[static_cast<int>(minibatch)];
  }
  const data::Tree& tree(int place) const {
    return dataset_.train[static_cast<std::size_t>(place)];
  }

  void exchange_weights() {
    if (!config_.load_weights.empty())
      set_params(engine_, read_params(Safetensors(config_.load_weights), model_->program().params,
                                      config_.non_finite));
    if (!config_.save_weights.empty())
      save_safetensors(config_.save_weights, param_tensors(engine_));
  }

  void record(const Instances& calls, std::size_t minibatch) {
    for (const int place : places(minibatch)) {
      calls.begin_example(static_cast<std::uint64_t>(place));
      model_->record_loss(calls, tree(place));
    }
  }

  Instances instances() {
    return engine_.instances(config_.training ? Mode::training : Mode::inference);
  }

  std::int64_t forecast(std::size_t minibatch) {
    const Instances calls = instances();
    record(calls, minibatch);
    return engine_.forecast_bytes(calls);
  }

  StepSample step(std::size_t minibatch) {
    StepSample sample{.minibatch = minibatch, .statistics = {}};
    const double begun = steady_seconds();
    const Instances calls = instances();
    record(calls, minibatch);
    sample.record = steady_seconds() - begun;
    const StepResult result =
        config_.training ? engine_.train_step(calls, optimizer_) : engine_.forward(calls);
    sample.total = steady_seconds() - begun;
    sample.loss = result.loss;
    sample.statistics = result.statistics;
    return sample;
  }

  /// Every minibatch once, the largest first, as far as the time goes.
  void warm_up() {
    std::vector<std::pair<std::int64_t, std::size_t>> by_size;
    for (std::size_t i = 0; i < minibatches_; ++i) {
      std::int64_t nodes = 0;
      for (const int place : places(i)) nodes += tree(place).size();
      by_size.emplace_back(-nodes, i);
    }
    std::ranges::sort(by_size);
    report_.forecast_bytes = forecast(by_size.front().second);
    const double end = steady_seconds() + config_.seconds;
    for (const auto& [nodes, minibatch] : by_size) {
      step(minibatch);
      ++report_.warmup_steps;
      if (steady_seconds() > end) break;
    }
    report_.compilation = engine_.compilation();
  }

  void measure() {
    std::vector<StepSample>& samples = report_.samples;
    const double end = steady_seconds() + config_.seconds;
    while (steady_seconds() < end || samples.size() < fewest_steps) {
      const std::size_t minibatch = samples.size() % minibatches_;
      if (config_.shuffle && minibatch == 0) order_.start_epoch(round_of(samples.size()));
      samples.push_back(step(minibatch));
      if (config_.shuffle) samples.back().minibatch = samples.size() - 1;
    }
    order_ = in_file_order();
    report_.peak_bytes = samples.back().statistics.peak_bytes;
    // Every minibatch counts equally often, so that none is favoured for its shape.
    report_.rounds = samples.size() / minibatches_;
    if (report_.rounds > 0) samples.resize(report_.rounds * minibatches_);
  }

  int round_of(std::size_t sample) const { return static_cast<int>(sample / minibatches_); }

  /// Times launches one by one, spread over the minibatches, for a tenth of the time.
  void profile() {
    engine_.set_profiling(true);
    std::map<std::string_view, std::size_t> rows;
    const double end = steady_seconds() + config_.seconds / 10;
    const std::size_t most = std::min<std::size_t>(minibatches_, 200);
    for (std::size_t i = 0; i < most && (i == 0 || steady_seconds() < end); ++i) {
      profiled_.push_back(i * minibatches_ / most);
      step(profiled_.back());
      for (const LaunchProfile& launch : engine_.profile()) {
        const auto [found, is_new] = rows.try_emplace(launch.kernel, report_.parts.size());
        if (is_new) report_.parts.push_back({.name = std::string(launch.kernel), .stages = {}});
        report_.parts[found->second].copied_bytes += static_cast<double>(launch.copied);
        auto& stages = report_.parts[found->second].stages;
        const auto stage = static_cast<std::size_t>(launch.stage);
        stages.resize(std::max(stages.size(), stage + 1));
        ++stages[stage].launches;
        stages[stage].rows += static_cast<double>(launch.rows);
        stages[stage].seconds += launch.seconds;
        report_.bytes_gathered += static_cast<double>(launch.copied);
      }
    }
    engine_.set_profiling(false);
    report_.profiled_steps = profiled_.size();
    const auto steps = static_cast<double>(profiled_.size());
    report_.bytes_gathered /= steps;
    for (PartRow& part : report_.parts) {
      part.copied_bytes /= steps;
      for (PartRow::Stage& stage : part.stages) {
        stage.launches /= steps;
        stage.rows /= steps;
        stage.seconds /= steps;
      }
    }
  }

  void measure_machine(bool memory) {
    if (report_.on_gpu) {
      report_.machine.flops = HUGE_VAL;
      report_.machine.bandwidth = {{1, HUGE_VAL}};
      return;
    }
    ThreadTeam team(report_.threads);
    bench::measure_flops(team, report_.machine);
    if (memory) bench::measure_bandwidth(team, report_.machine);
  }

  void add_all_facts() {
    for (std::size_t i = 0; i < minibatches_; ++i) {
      const bool profiled = std::ranges::find(profiled_, i) != profiled_.end();
      if (config_.shuffle && !profiled) continue;
      const MinibatchFacts facts = facts_of(i, profiled);
      if (!config_.shuffle) report_.minibatches.push_back(facts);
    }
    if (!config_.shuffle) return;
    for (std::size_t i = 0; i < report_.samples.size(); ++i) {
      if (i % minibatches_ == 0) order_.start_epoch(round_of(i));
      report_.minibatches.push_back(facts_of(i % minibatches_, false));
    }
  }

  MinibatchFacts facts_of(std::size_t minibatch, bool profiled) {
    MinibatchFacts facts{.trees = config_.run.batch};
    for (const int place : places(minibatch)) {
      facts.nodes += tree(place).size();
      for (int node = 0; node < tree(place).size(); ++node)
        facts.tokens += tree(place).word(node) != data::Tree::kNone;
    }
    if (models::find_model(config_.run.model).reads == models::Reads::sequences)
      facts.nodes = facts.tokens;

    if (!recorder_) recorder_.emplace(program_, record_options(config_.run.engine));
    recorder_->clear(/*random=*/config_.training);
    record(Instances(*recorder_), minibatch);
    const ir::Program& program = recorder_->program();
    if (!counter_) counter_.emplace(program);
    const ir::InstanceGraph& graph = recorder_->graph();
    strategy_->run(graph, scheduler::cell_graph(program), schedule_);
    const bench::StepWork work =
        bench::step_work(*counter_, graph, schedule_, program.cells.size(), report_.machine);
    facts.flops = config_.training ? work.flops.training() : work.flops.forward;
    facts.floor_seconds = work.floor_seconds(config_.training);
    facts.batches = work.batches;
    facts.lower_bound = scheduler::lower_bound(graph);
    facts.calls = recorder_->size();
    facts.instances = graph.size();
    facts.unshared_flops = config_.run.engine.share ? unshared_flops(minibatch) : facts.flops;
    if (!profiled) return facts;
    for (std::size_t cell = 0; cell < work.cells.size(); ++cell)
      for (std::size_t part = 0; part < bench::part_names.size(); ++part)
        add_work(fmt::format("{}.{}", program.cells[cell].name, bench::part_names[part]),
                 work.cells[cell], work.cells[cell].parts[part]);
    return facts;
  }

  double unshared_flops(std::size_t minibatch) {
    if (!unshared_) {
      ir::RecordOptions options = record_options(config_.run.engine);
      options.share = false;
      unshared_.emplace(unshared_program_, options);
    }
    unshared_->clear();
    record(Instances(*unshared_), minibatch);
    const bench::Flops flops = bench::FlopCounter(unshared_->program()).total(unshared_->graph());
    return config_.training ? flops.training() : flops.forward;
  }

  void add_work(const std::string& name, const bench::CellWork& cell, const bench::PartWork& part) {
    const auto row = std::ranges::find(report_.parts, name, &PartRow::name);
    if (row == report_.parts.end()) return;
    const auto steps = static_cast<double>(profiled_.size());
    const bool once = name.ends_with(bench::part_names.back());
    row->batches += (once ? 1 : static_cast<double>(cell.batches)) / steps;
    row->instances += static_cast<double>(cell.instances) / steps;
    row->flops += part.flops / steps;
    row->floor_seconds += part.floor_seconds / steps;
  }

  const StepBenchConfig& config_;
  data::Dataset dataset_;
  std::unique_ptr<models::TreeModel> model_;
  Engine engine_;
  StandardOptimizer optimizer_;
  std::size_t minibatches_;  // of a round
  data::Minibatches order_;
  StepBenchReport report_;
  std::vector<std::size_t> profiled_;  // minibatches

  // Another recording of the minibatches, to count what they are.
  ir::Program program_ = model_->program();
  ir::Program unshared_program_ = model_->program();
  std::optional<ir::Recorder> recorder_, unshared_;
  std::optional<bench::FlopCounter> counter_;
  std::unique_ptr<scheduler::Strategy> strategy_ =
      scheduler::make_strategy(config_.run.engine.strategy);
  scheduler::Schedule schedule_;
};

}  // namespace

double PartRow::seconds() const {
  double sum = 0;
  for (const Stage& stage : stages) sum += stage.seconds;
  return sum;
}

double PartRow::launches() const {
  double sum = 0;
  for (const Stage& stage : stages) sum += stage.launches;
  return sum;
}

StepBenchReport bench_step(const StepBenchConfig& config) { return StepBench(config).run(); }

}  // namespace espalier::app
