// What an engine is made of, and how its parts work together: a minibatch is placed, planned, run
// forward and backward, in parts where memory is short. Included by engine.cpp only.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/stopwatch.h"
#include "codegen/compiler.h"
#include "ir/record/recorder.h"
#include "ir/verify.h"
#include "runtime/check_options.h"
#include "runtime/cpu/executor.h"
#include "runtime/cuda/executor.h"
#include "runtime/engine.h"
#include "runtime/step/arenas.h"
#include "runtime/step/binding.h"
#include "runtime/step/finite_check.h"
#include "runtime/step/placement.h"
#include "runtime/step/plan.h"
#include "runtime/step/random_keys.h"
#include "runtime/step/reservation.h"
#include "runtime/step/state_values.h"

namespace espalier {

struct Engine::Impl {
  using PlacedBatch = scheduler::PlacedBatch;

  static const ir::Program& verified(const ir::Program& program) {
    ir::verify(program);
    return program;
  }

  Impl(ir::Program p, EngineOptions o)
      : options(runtime::checked(std::move(o), p)),
        source(verified(p)),
        recorder(source, {options.granularity, options.share, options.hoist}),
        compiler(runtime::target(options), {options.cache_directory}),
        placement(recorder, options),
        stored(runtime::stored_params(source)),
        executor(options.device == Device::cuda
                     ? runtime::make_cuda_executor(program(), stored, memory, compiler, options)
                     : std::make_unique<runtime::CpuExecutor>(program(), stored, memory,
                                                              options.threads)),
        kernels(program(), compiler, options.debug.verify,
                [this](codegen::Kernel kernel) { return executor->form(std::move(kernel)); }),
        param_store(program(), options.seed, memory, executor->memory()),
        arenas(executor->memory()),
        state_values(executor->memory()) {
    begin(Mode::training);
  }

  const ir::Program& program() const { return recorder.program(); }

  const scheduler::Layout& layout() const { return placement.layout(); }
  runtime::Memory bound() { return {program(), layout(), arenas, param_store, indices}; }

  void begin(Mode new_mode) {
    recorder.clear(/*random=*/new_mode == Mode::training);
    placement.take_whole();
    mode = new_mode;
    in_parts = false;
    if (options.memory_limit > 0) make_room_to_record();
    statistics = {};
    profile.clear();
    growths_before = growths();
    traffic_before = executor->traffic();
    compilations_before = compiled();
  }

  /// What larger minibatches have left is given back, if it stands in the way.
  void make_room_to_record() {
    // A list that grows one by one has room for twice as many.
    const std::int64_t bytes = 2 * most_recorded() - std::int64_t(recorder.bytes());
    if (has_room(std::size_t(std::max<std::int64_t>(1, bytes)))) return;
    recorder.release();
    placement.release_parts();
    plan = {};
  }

  /// Bytes that recorded calls had better not exceed under the memory limit.
  std::int64_t most_recorded() const {
    return (options.memory_limit - runtime::model_bytes(stored)) / 16;
  }

  /// Arithmetic outside cells may bring a gradient to a param that no cell had given one.
  void find_reached_params() {
    if (const std::size_t cells = source.cells.size(); cells != std::exchange(cells_known, cells))
      stored = runtime::stored_params(source);
  }

  std::int64_t growths() { return memory.growths + arenas.memory().growths; }
  std::int64_t compiled() const {
    const auto s = compiler.statistics();
    return s.compilations + s.disk_hits;
  }

  void check_minibatch(const Instances& minibatch) {
    user_check(minibatch.of(recorder), "the minibatch belongs to another engine");
    minibatch.recorder();  // UserError for an earlier one
    find_reached_params();
  }

  /// Runs forward what has been recorded since the last time.
  void flush() {
    if (all_ran()) return;
    if (!fits(false)) exceeds_limit_recorded();
    run_forward();
  }

  [[noreturn]] void exceeds_limit_recorded() const {
    const bool one = recorder.graph().examples() == 1;
    runtime::exceeds_limit(one ? "one example" : "what has been recorded", needed, limit,
                           options.device);
  }

  bool all_ran() { return placement.graph().done() == placement.graph().size(); }

  void place() {
    placement.place(statistics);
    note_peak();
  }

  /// `with_gradients`, and `accumulates`: what comes behind it.
  void run_forward(bool with_gradients = false, bool accumulates = false) {
    if (all_ran()) return;
    if (!in_parts) statistics.parts = 1;
    Stopwatch watch;
    const std::size_t first = placement.ran_batches();
    plan_forward(first, staged(with_gradients, accumulates));
    statistics.plan_seconds += watch.lap();
    executor->repack(param_store);
    state_values.forget();
    executor->write_inputs(bound(), placement, first);
    if (options.debug.check_finite)
      run_checked(first);
    else
      run_plan();
    statistics.forward_seconds += watch.lap();
    statistics.calls = recorder.size();
    statistics.instances += placement.graph().size() - placement.graph().done();
    statistics.batches += layout().batches.size() - first;
    statistics.launches += plan.size();
    placement.set_ran();
  }

  /// On a device, what the mode over what is placed places there.
  runtime::Staged staged(bool with_gradients, bool accumulates) {
    if (!executor->memory()) return {};
    return runtime::staged(bound(), kernels, placement, *executor, {mode, placement.ran_batches()},
                           with_gradients, accumulates);
  }

  void plan_forward(std::size_t first_batch, const runtime::Staged& expected) {
    executor->begin(expected);
    plan.clear();
    runtime::reserve_forward(bound(), kernels, plan, {mode, first_batch});
    place_indices();
    note_peak();
    checkpoints.clear();
    for (std::size_t b = first_batch; b < layout().batches.size(); ++b) {
      const PlacedBatch& batch = layout().batches[b];
      add_batch(plan, bound(), runtime::forward_kernel(kernels, mode, batch.cell), batch);
      checkpoints.push_back(plan.size());
    }
  }

  /// For the forward mode, with random numbers if it is one of training.
  void place_indices() {
    indices.place(layout(), *executor);
    for (std::size_t cell = 0; mode == Mode::training && cell < layout().cells.size(); ++cell) {
      const std::vector<ir::InstanceId>& instances = layout().cells[cell].instances;
      const auto id = ir::CellId(cell);
      if (instances.empty() || !runtime::draws(kernels.training(id).forward->kernel)) continue;
      const std::span<std::uint64_t> keys = arenas.keys(id).first(instances.size());
      runtime::draw_keys(options.seed, step, placement.graph(), instances, keys.data());
      indices.place_keys(id, keys, *executor);
    }
  }

  void run_plan() { executor->run(plan, profiling ? &profile : nullptr); }

  void run_checked(std::size_t first_batch) {
    std::size_t begin = 0;
    for (std::size_t i = 0; i < checkpoints.size(); ++i) {
      executor->run_part(plan, begin, checkpoints[i]);
      begin = checkpoints[i];
      state_values.forget();
      runtime::check_finite(bound(), state_values, placement.graph(),
                            layout().batches[first_batch + i]);
    }
  }

  double objective_scale(std::optional<double> scale) const {
    if (scale) return *scale;
    const std::size_t examples = recorder.graph().examples();
    return 1.0 / double(std::max<std::size_t>(1, examples ? examples : recorder.losses().size()));
  }

  /// The sum of the losses of what has run.
  double loss() {
    executor->begin_losses(0);
    executor->gather_losses(bound(), placement);
    return executor->take_loss();
  }

  StepResult finish(double loss) {
    note_peak();
    StepResult result;
    result.loss = loss;
    statistics.allocations = growths() - growths_before;
    statistics.compilations = compiled() - compilations_before;
    const runtime::Executor::Traffic traffic = executor->traffic();
    statistics.device_launches = traffic.launches - traffic_before.launches;
    statistics.device_copies = traffic.copies - traffic_before.copies;
    statistics.device_replays = traffic.replays - traffic_before.replays;
    statistics.device_walks = traffic.walks - traffic_before.walks;
    statistics.walked_launches = traffic.walked_launches - traffic_before.walked_launches;
    statistics.grid_barriers = traffic.grid_barriers - traffic_before.grid_barriers;
    statistics.device_contractions = traffic.products - traffic_before.products;
    statistics.submit_seconds = traffic.submit_seconds - traffic_before.submit_seconds;
    statistics.wait_seconds = traffic.wait_seconds - traffic_before.wait_seconds;
    statistics.bytes_held = held();
    statistics.peak_bytes = peak;
    result.statistics = statistics;
    return result;
  }

  /// What the step gave, of `loss` before its scale; waits for it.
  StepResult finish_step(double loss, double scale) {
    StepResult result = finish(loss * scale);
    result.gradient_norm = executor->norm();
    return result;
  }

  /// Forward, backward and weight gradients, in parts if the memory limit asks for it. The executor
  /// has the loss.
  void gradients(const Instances& minibatch, double scale) {
    check_minibatch(minibatch);
    user_check(mode == Mode::training, "the minibatch was begun for inference");
    bool accumulates = std::exchange(accumulated, false);
    user_check(!recorder.losses().empty() || accumulates, "no loss was marked in the minibatch");
    executor->begin_losses(accumulates ? accumulated_loss : 0);
    if (recorder.losses().empty()) return;
    if (fits(true, accumulates)) return run_gradients(scale, accumulates);
    struct BackToWhole {
      runtime::Placement& placement;
      ~BackToWhole() { placement.take_whole(); }
    } const back{placement};
    in_parts = true;
    statistics.parts = 0;
    placement.release();
    if (!has_room(placement.most_find_bytes())) exceeds_limit_recorded();
    run_halves(placement.losses_by_example(), scale, accumulates);
  }

  void run_halves(std::span<const ir::InstanceId> losses, double scale, bool& accumulates) {
    const std::size_t half = ir::middle(recorder.graph(), losses);
    if (half == 0) {
      const bool beside_others = losses.size() < recorder.losses().size() && !executor->memory();
      runtime::exceeds_limit("one example", needed, limit, options.device,
                             beside_others ? std::int64_t(recorder.bytes()) : 0);
    }
    run_part(losses.first(half), scale, accumulates);
    run_part(losses.subspan(half), scale, accumulates);
  }

  /// Runs the part of the minibatch that `losses` depend on, in halves if it does not fit.
  void run_part(std::span<const ir::InstanceId> losses, double scale, bool& accumulates) {
    placement.find_part(losses);
    if (!has_room(placement.most_part_bytes())) return run_halves(losses, scale, accumulates);
    placement.take_part();
    if (!fits(true, accumulates)) return run_halves(losses, scale, accumulates);
    run_gradients(scale, accumulates);
    accumulates = true;
  }

  /// Forward, backward and weight gradients of what is placed; gradients are added to those so far,
  /// if `accumulates`.
  void run_gradients(double scale, bool accumulates) {
    placement.place_gradients(statistics);
    if (all_ran()) executor->reserve(staged(true, accumulates));
    run_forward(true, accumulates);
    Stopwatch watch;
    plan_backward(accumulates);
    statistics.plan_seconds += watch.lap();
    executor->seed_losses(bound(), placement, float(scale));
    executor->repack(param_store);
    run_plan();
    executor->collect(bound(), kernels, accumulates);
    has_gradients = true;
    executor->gather_losses(bound(), placement);
    statistics.backward_seconds += watch.lap();
    statistics.launches += plan.size();
    statistics.parts = in_parts ? statistics.parts + 1 : 1;
    note_peak();
  }

  void plan_backward(bool accumulates) {
    plan.clear();
    runtime::reserve_backward(bound(), kernels, plan);
    indices.place_gradients(layout(), *executor);
    note_peak();
    for (std::size_t b = layout().batches.size(); b-- > 0;) {
      const PlacedBatch& batch = layout().batches[b];
      if (layout().target_count[b] > 0) {
        const ir::StateId state = program().cells[std::size_t(batch.cell)].state;
        add_reader_sum(plan, bound(), kernels.reader_sum(state), state, layout().first_target[b],
                       layout().target_count[b]);
      }
      add_batch(plan, bound(), *kernels.training(batch.cell).backward, batch);
    }
    // Cells without instances too: the first of a param's cells clears its gradient. One that was
    // not there when the gradients so far were formed does so now.
    const auto& all = kernels.training_kernels();
    const std::size_t before = accumulates ? summed_kernels : 0;
    summed_kernels = all.size();
    for (std::size_t cell = 0; cell < all.size(); ++cell) {
      const auto id = ir::CellId(cell);
      if (cell >= before)
        add_weights(plan, bound(), *all[cell]->weights, id);
      else if (indices.row_counts()[cell] > 0)
        add_weights(plan, bound(), kernels.added_weights(id), id);
    }
  }

  /// Held by index arrays, capacity included; on a device, what lies there.
  std::int64_t index_bytes() const {
    if (executor->memory()) return std::int64_t(executor->bytes());
    return std::int64_t(placement.bytes() + plan.bytes() + executor->bytes() + indices.bytes() +
                        ir::capacity_bytes(checkpoints));
  }
  std::int64_t held() { return memory.bytes + arenas.memory().bytes + index_bytes(); }
  void note_peak() {
    runtime::MemoryCounter& counter = arenas.memory();
    peak = std::max(peak, memory.bytes + counter.peak_bytes + index_bytes());
    counter.peak_bytes = counter.bytes;
  }

  /// Gives back what minibatches before have left.
  void release_arenas() {
    note_peak();
    arenas.release();
    arenas.memory().peak_bytes = arenas.memory().bytes;
  }

  /// Places what is taken and foretells the most that will be held once it has run; nothing of it
  /// runs here. Nothing is placed, and only what that would take is foretold, if that alone is
  /// above the memory limit.
  runtime::MemoryForecast make_forecast(bool with_gradients, bool accumulates) {
    runtime::make_fixed(bound(), kernels, *executor, placement.graph(), mode, with_gradients);
    indices.reserve(program());
    if (!has_room(placement.most_place_bytes())) return {needed, needed, needed};
    place();
    if (with_gradients) placement.place_gradients(statistics);
    checkpoints.reserve(layout().batches.size() - placement.ran_batches());
    executor->reserve_losses(placement.losses().size());
    runtime::MemoryForecast forecast =
        runtime::forecast(bound(), kernels, plan, placement, *executor,
                          {mode, placement.ran_batches()}, with_gradients, accumulates);
    const std::int64_t others = memory.bytes + index_bytes();
    forecast.peak_bytes += others;
    forecast.fresh_bytes += others;
    return forecast;
  }

  /// Whether a limit of the host's memory leaves so many bytes; if not, `needed` is what there
  /// would be. Memory of earlier minibatches that stands in the way is given back.
  bool has_room(std::size_t bytes) {
    if (bytes == 0 || options.memory_limit == 0 || executor->memory()) return true;
    limit = options.memory_limit;
    const auto enough = [&] { return held() + std::int64_t(bytes) <= limit; };
    if (enough()) return true;
    if (placement.ran_batches() == 0 || in_parts) {
      note_peak();
      placement.release();
      if (enough()) return true;
      release_arenas();
      if (enough()) return true;
    }
    needed = held() + std::int64_t(bytes);
    return false;
  }

  /// Places what is taken, if it can run within the memory limit; `needed` says what it takes.
  /// Memory of earlier minibatches that stands in the way is given back.
  bool fits(bool with_gradients, bool accumulates = false) {
    limit = memory_limit(with_gradients);
    if (limit == 0) {
      place();
      return true;
    }
    const runtime::MemoryForecast forecast = make_forecast(with_gradients, accumulates);
    if (forecast.peak_bytes > limit) {
      const bool ran = placement.ran_batches() > 0;  // what those batches hold stays
      if (ran || forecast.fresh_bytes > limit) {
        needed = ran ? forecast.peak_bytes : std::min(forecast.peak_bytes, forecast.fresh_bytes);
        return false;
      }
      release_arenas();
    }
    most_instances[with_gradients] = placement.graph().size();
    return true;
  }

  /// The user's, or what the device has, if more is to run than ever did; 0: none.
  std::int64_t memory_limit(bool with_gradients) {
    if (options.memory_limit > 0) return options.memory_limit;
    if (placement.graph().size() <= most_instances[with_gradients]) return 0;
    const std::int64_t free = executor->free_bytes();
    return free > 0 ? held() + free : 0;
  }

  /// Those of the executor, and that kernels cannot be kept, in the order in which they are seen.
  std::span<const std::string> all_warnings() {
    const std::span<const std::string> found = executor->warnings().subspan(executor_warnings);
    warnings.insert(warnings.end(), found.begin(), found.end());
    executor_warnings += found.size();
    if (cache_problem.empty()) {
      cache_problem = compiler.cache_problem();
      if (!cache_problem.empty())
        warnings.push_back("kernels are not kept for the next run: " + cache_problem);
    }
    return warnings;
  }

  ir::ParamId find_param(std::string_view name) const {
    std::vector<std::string_view> names;
    for (std::size_t i = 0; i < program().params.size(); ++i) {
      if (program().params[i].name == name) return ir::ParamId(i);
      names.push_back(program().params[i].name);
    }
    throw UserError(fmt::format("no param is called '{}'; the nearest is '{}'", name,
                                nearest_name(name, names)));
  }

  EngineOptions options;
  ir::Program source;
  ir::Recorder recorder;
  runtime::MemoryCounter memory;
  codegen::Compiler compiler;
  runtime::Placement placement;
  std::vector<StoredParam> stored;
  std::size_t cells_known = 0;  // when `stored` was made
  std::unique_ptr<runtime::Executor> executor;
  runtime::CellKernels kernels;
  runtime::ParamStore param_store;
  runtime::Arenas arenas;
  runtime::StateValues state_values;

  runtime::Indices indices;
  runtime::Plan plan;
  std::vector<std::size_t> checkpoints;  // launches up to the end of each batch
  bool in_parts = false;                 // the minibatch ran so: values are not there
  bool has_gradients = false;            // of any minibatch so far
  bool accumulated = false;              // the next step adds to the gradients,
  double accumulated_loss = 0;           // and to this, which has no scale
  std::size_t summed_kernels = 0;        // that the gradients so far are of
  std::int64_t needed = 0, limit = 0, peak = 0;
  std::array<std::size_t, 2> most_instances{};  // for which memory was found; with gradients

  std::vector<std::string> warnings;
  std::size_t executor_warnings = 0;  // of these
  std::string cache_problem;

  bool profiling = false;
  std::vector<LaunchProfile> profile;  // of the minibatch

  Mode mode = Mode::training;
  std::uint64_t step = 0;
  StepStatistics statistics;
  std::int64_t growths_before = 0, compilations_before = 0;
  runtime::Executor::Traffic traffic_before;
};

}  // namespace espalier
