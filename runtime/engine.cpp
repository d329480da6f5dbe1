#include "runtime/engine.h"

#include "base/error.h"
#include "ir/record/recorder.h"
#include "runtime/engine_impl.h"

namespace espalier {

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
  impl_->flush();
  return impl_->finish(impl_->loss() * impl_->objective_scale(scale));
}

StepResult Engine::gradients(const Instances& minibatch, std::optional<double> scale) {
  const double times = impl_->objective_scale(scale);
  impl_->gradients(minibatch, times);
  return impl_->finish_step(impl_->executor->take_loss(), times);
}

StepResult Engine::accumulate(const Instances& minibatch, double scale) {
  Impl& impl = *impl_;
  impl.gradients(minibatch, scale);
  impl.accumulated = true;
  impl.accumulated_loss = impl.executor->take_loss();
  return impl.finish_step(impl.accumulated_loss, scale);
}

void Engine::forget_accumulated() { impl_->accumulated = false; }

bool Engine::recorded_enough() const {
  if (impl_->options.memory_limit == 0 || impl_->executor->memory()) return false;
  return std::int64_t(impl_->recorder.used_bytes()) > impl_->most_recorded();
}

StepResult Engine::train_step(const Instances& minibatch, Optimizer& optimizer,
                              std::optional<double> scale) {
  Impl& impl = *impl_;
  const double times = impl.objective_scale(scale);
  impl.check_minibatch(minibatch);
  impl.executor->adopt(optimizer);
  impl.gradients(minibatch, times);
  Stopwatch watch;
  impl.executor->apply(impl.param_store, optimizer);
  ++impl.step;
  impl.statistics.update_seconds = watch.lap();
  return impl.finish_step(impl.executor->take_loss(), times);
}

void Engine::prepare(Optimizer& optimizer) const {
  impl_->find_reached_params();
  optimizer.prepare(impl_->stored);
}

std::int64_t Engine::forecast_bytes(const Instances& minibatch) {
  impl_->check_minibatch(minibatch);
  return impl_->make_forecast(impl_->mode == Mode::training, false).peak_bytes;
}

std::span<const float> Engine::value(const ir::CallHandle& call, int field) {
  Impl& impl = *impl_;
  const ir::CallId id = impl.recorder.resolve(call);
  const auto& fields = impl.source.states[std::size_t(impl.recorder.state(id))].fields;
  user_check(field >= 0 && field < int(fields.size()), "field {} of a state of {} fields", field,
             fields.size());
  const auto [instance, at] = impl.recorder.instance(id, field);
  user_check(!impl.in_parts,
             "the minibatch ran in parts to keep to the memory limit, so no values are left");
  if (instance >= impl.recorder.graph().done()) impl.flush();
  const ir::StateId state =
      impl.program().cells[std::size_t(impl.recorder.graph().cell(instance))].state;
  const auto n = std::size_t(fields[std::size_t(field)].shape.size());
  return {impl.state_values.field(impl.bound(), state, at) +
              impl.layout().rows[instance] * std::size_t(codegen::row_stride(std::int64_t(n))),
          n};
}

std::span<float> Engine::param(std::string_view name) {
  const ir::ParamId param = impl_->find_param(name);
  impl_->param_store.mark_changed(param);
  return impl_->param_store.values(param);
}

std::span<const float> Engine::param(std::string_view name) const {
  return impl_->param_store.values(impl_->find_param(name));
}

std::vector<float> Engine::gradient(std::string_view name) const {
  const ir::ParamId param = impl_->find_param(name);
  user_check(impl_->has_gradients, "the gradient of '{}' is asked for before any step", name);
  return impl_->executor->dense_gradient(impl_->param_store, param);
}

std::uint64_t Engine::step() const { return impl_->step; }
void Engine::set_step(std::uint64_t step) { impl_->step = step; }
const ir::Program& Engine::program() const { return impl_->source; }
const EngineOptions& Engine::options() const { return impl_->options; }
void Engine::set_profiling(bool on) { impl_->profiling = on; }
std::span<const LaunchProfile> Engine::profile() const { return impl_->profile; }
const std::string& Engine::target() const { return impl_->compiler.target().name; }

std::span<const std::string> Engine::warnings() const { return impl_->all_warnings(); }

Engine::Compilation Engine::compilation() const {
  const codegen::CompilerStatistics statistics = impl_->compiler.statistics();
  return {statistics.seconds, statistics.compilations, statistics.disk_hits};
}

}  // namespace espalier
