#include "runtime/engine.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/stopwatch.h"
#include "codegen/compiler.h"
#include "ir/record/recorder.h"
#include "ir/verify.h"
#include "runtime/check_options.h"
#include "runtime/split_minibatch.h"
#include "runtime/step_meter.h"

namespace espalier {
namespace {

const ir::Program& verified(const ir::Program& program) {
  ir::verify(program);
  return program;
}

}  // namespace

struct Engine::Impl {
  using Gradients = runtime::Gradients;

  Impl(ir::Program p, EngineOptions o)
      : options(runtime::checked(std::move(o), p)),
        source(verified(p)),
        recorder(source, {options.granularity, options.share, options.hoist}),
        compiler(runtime::target(options), {options.cache_directory}),
        work(options, source, recorder, compiler),
        budget(work),
        run(work, budget),
        meter(work, budget, compiler) {
    begin(Mode::training);
  }

  void begin(Mode mode) {
    recorder.clear(/*random=*/mode == Mode::training);
    work.layout.select_whole();
    work.mode = mode;
    ran_in_parts = false;
    budget.make_room_to_record();
    run.profile.clear();
    meter.begin();
  }

  void check_minibatch(const Instances& minibatch) {
    user_check(minibatch.of(recorder), "the minibatch belongs to another engine");
    minibatch.recorder();  // UserError for an earlier one
    work.find_reached_params();
  }

  /// Runs forward what has been recorded since the last time.
  void forward() {
    if (work.layout.all_ran()) return;
    const runtime::StepRequest request = work.request(Gradients::none);
    if (!budget.fits(request, meter.run())) budget.refuse_recorded();
    run.forward(request, meter.run());
    ran_in_parts = false;
  }

  double objective_scale(std::optional<double> scale) const {
    if (scale) return *scale;
    const std::size_t examples = recorder.graph().examples();
    return 1.0 / double(std::max<std::size_t>(1, examples ? examples : recorder.losses().size()));
  }

  Gradients next_gradients() const { return accumulated.any ? Gradients::more : Gradients::first; }

  /// Forward, backward and weight gradients, in parts if the memory limit asks for it. StepIo
  /// has the losses. What was accumulated is included in both.
  void gradients(const Instances& minibatch, double scale) {
    check_minibatch(minibatch);
    user_check(work.mode == Mode::training, "the minibatch was begun for inference");
    user_check(!accumulated.lost,
               "the gradients accumulated so far were lost when a step failed: call "
               "forget_accumulated() and begin the step again");
    user_check(!recorder.losses().empty() || accumulated.any,
               "no loss was marked in the minibatch");
    work.backend.io->begin_losses(accumulated.any ? accumulated.loss : 0);
    if (recorder.losses().empty()) return;
    const std::size_t changes = run.gradient_changes();
    try {
      const runtime::StepRequest request = work.request(next_gradients());
      ran_in_parts = !budget.fits(request, meter.run());
      if (ran_in_parts)
        run_in_parts(work, budget, run, request.gradients, scale, meter.run());
      else
        run.gradients(request, scale, meter.run());
    } catch (...) {
      ran_in_parts = false;  // nothing of it can be read: it may run again
      accumulated.lost = accumulated.any && run.gradient_changes() != changes;
      throw;
    }
  }

  /// The result of what has run, of `loss` before its scale.
  StepResult finish(double loss, double scale) {
    budget.note_peak();
    return {.loss = loss * scale, .gradient_norm = 0, .statistics = meter.total()};
  }

  /// Of a step; waits for it.
  StepResult finish_step(double loss, double scale) {
    StepResult result = finish(loss, scale);
    result.gradient_norm = work.backend.update->norm();
    return result;
  }

  /// The executor's problems, and that kernels cannot be kept, in the order in which they occurred.
  std::span<const std::string> all_warnings() {
    const std::span<const std::string> found =
        work.backend.executor->warnings().subspan(executor_warnings);
    warnings.insert(warnings.end(), found.begin(), found.end());
    executor_warnings += found.size();
    if (cache_problem.empty()) {
      cache_problem = compiler.cache_problem();
      if (!cache_problem.empty())
        warnings.push_back("kernels are not kept for the next run: " + cache_problem);
    }
    return warnings;
  }

  EngineOptions options;
  ir::Program source;
  ir::Recorder recorder;
  codegen::Compiler compiler;
  runtime::Workspace work;
  runtime::MemoryBudget budget;
  runtime::MinibatchRun run;
  runtime::StepMeter meter;

  bool ran_in_parts = false;  // the minibatch, so none of its values are left
  struct {
    bool any = false;   // the next step adds to the gradients so far,
    bool lost = false;  // which a step that failed has changed
    double loss = 0;    // of the minibatches accumulated, without scale
  } accumulated;

  std::vector<std::string> warnings;
  std::size_t executor_warnings = 0;  // of these
  std::string cache_problem;
};

Engine::Engine(ir::Program program, EngineOptions options)
    : impl_(std::make_unique<Impl>(std::move(program), std::move(options))) {}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

Instances Engine::instances(Mode mode) {
  impl_->begin(mode);
  return Instances(impl_->recorder);
}

StepResult Engine::forward(const Instances& minibatch, std::optional<double> scale) {
  impl_->check_minibatch(minibatch);
  impl_->forward();
  return impl_->finish(impl_->run.loss(), impl_->objective_scale(scale));
}

StepResult Engine::gradients(const Instances& minibatch, std::optional<double> scale) {
  Impl& impl = *impl_;
  const double times = impl.objective_scale(scale);
  impl.gradients(minibatch, times);
  impl.accumulated = {};
  return impl.finish_step(impl.work.backend.io->take_loss(), times);
}

StepResult Engine::accumulate(const Instances& minibatch, double scale) {
  Impl& impl = *impl_;
  impl.gradients(minibatch, scale);
  impl.accumulated = {.any = true, .lost = false, .loss = impl.work.backend.io->take_loss()};
  return impl.finish_step(impl.accumulated.loss, scale);
}

void Engine::forget_accumulated() { impl_->accumulated = {}; }

bool Engine::recorded_enough() const { return impl_->budget.recorded_enough(); }

StepResult Engine::train_step(const Instances& minibatch, Optimizer& optimizer,
                              std::optional<double> scale) {
  Impl& impl = *impl_;
  runtime::Backend& backend = impl.work.backend;
  const double times = impl.objective_scale(scale);
  impl.check_minibatch(minibatch);
  backend.update->adopt(optimizer);
  impl.gradients(minibatch, times);
  impl.accumulated = {};
  Stopwatch watch;
  backend.update->apply(impl.work.params, optimizer);
  ++impl.run.step;
  impl.meter.run().update_seconds = watch.lap();
  return impl.finish_step(backend.io->take_loss(), times);
}

void Engine::prepare(Optimizer& optimizer) const {
  impl_->work.find_reached_params();
  optimizer.prepare(impl_->work.stored);
}

std::int64_t Engine::forecast_bytes(const Instances& minibatch) {
  Impl& impl = *impl_;
  impl.check_minibatch(minibatch);
  const bool training = impl.work.mode == Mode::training;
  const auto gradients = training ? impl.next_gradients() : runtime::Gradients::none;
  return impl.budget.forecast(impl.work.request(gradients), impl.meter.run()).peak_bytes;
}

std::span<const float> Engine::value(const ir::CallHandle& call, int field) {
  Impl& impl = *impl_;
  const ir::CallId id = impl.recorder.resolve(call);
  const auto& fields = impl.source.states[std::size_t(impl.recorder.state(id))].fields;
  user_check(field >= 0 && field < int(fields.size()), "field {} of a state of {} fields", field,
             fields.size());
  const auto [instance, at] = impl.recorder.instance(id, field);
  user_check(!impl.ran_in_parts,
             "the minibatch ran in parts to keep to the memory limit, so no values are left");
  if (instance >= impl.recorder.graph().done()) impl.forward();
  const runtime::Memory memory = impl.work.memory();
  const auto n = std::size_t(fields[std::size_t(field)].shape.size());
  return {impl.run.values(memory.state(instance), at) +
              memory.layout.rows[instance] * std::size_t(codegen::row_stride(std::int64_t(n))),
          n};
}

std::span<float> Engine::param(std::string_view name) {
  const ir::ParamId param = runtime::find_param(impl_->source, name);
  impl_->work.params.mark_changed(param);
  return impl_->work.params.values(param);
}

std::span<const float> Engine::param(std::string_view name) const {
  return impl_->work.params.values(runtime::find_param(impl_->source, name));
}

std::vector<float> Engine::gradient(std::string_view name) const {
  const ir::ParamId param = runtime::find_param(impl_->source, name);
  user_check(impl_->run.has_gradients(), "the gradient of '{}' is asked for before any step", name);
  return impl_->work.backend.update->dense_gradient(impl_->work.params, param);
}

std::uint64_t Engine::step() const { return impl_->run.step; }
void Engine::set_step(std::uint64_t step) { impl_->run.step = step; }
const ir::Program& Engine::program() const { return impl_->source; }
const EngineOptions& Engine::options() const { return impl_->options; }
void Engine::set_profiling(bool on) { impl_->run.profiling = on; }
std::span<const LaunchProfile> Engine::profile() const { return impl_->run.profile; }
const std::string& Engine::target() const { return impl_->compiler.target().name; }

std::span<const std::string> Engine::warnings() const { return impl_->all_warnings(); }

Engine::Compilation Engine::compilation() const {
  const codegen::CompilerStatistics statistics = impl_->compiler.statistics();
  return {statistics.seconds, statistics.compilations, statistics.disk_hits};
}

}  // namespace espalier
