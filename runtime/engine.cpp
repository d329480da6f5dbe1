#include "runtime/engine.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "codegen/compiler.h"
#include "ir/error.h"
#include "ir/verify.h"
#include "runtime/arenas.h"
#include "runtime/binding.h"
#include "runtime/finite_check.h"
#include "runtime/modules.h"
#include "runtime/parameters.h"
#include "runtime/plan.h"
#include "runtime/random.h"
#include "runtime/update.h"
#include "scheduler/layout.h"
#include "scheduler/strategy.h"

namespace espalier {

using runtime::TrainingModule;
using scheduler::PlacedBatch;

namespace {

class Stopwatch {
 public:
  /// Seconds since construction or the last call.
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double>(now - std::exchange(last_, now)).count();
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

EngineOptions checked(EngineOptions options) {
  user_check(options.device == Device::cpu,
             "device 'cuda' was asked for, and this build has no CUDA backend");
  user_check(options.threads >= 0 && options.threads <= 1024,
             "the number of threads must lie in 0 … 1024, found {}", options.threads);
  if (options.threads == 0) options.threads = std::max(1U, std::thread::hardware_concurrency());
  return options;
}

const ir::Program& verified(const ir::Program& program) {
  ir::verify(program);
  return program;
}

}  // namespace

struct Engine::Impl {
  Impl(ir::Program p, EngineOptions o)
      : options(checked(std::move(o))),
        source(verified(p)),
        recorder(source, options.granularity),
        compiler(codegen::host_target(options.target), {options.cache_directory}),
        strategy(scheduler::make_strategy(options.strategy)),
        modules(program(), compiler, options.debug.verify),
        parameters(program(), options.seed, memory),
        arenas(memory),
        update(program(), memory),
        team(options.threads) {
    layout.clear(program());
    begin(Pass::training);
  }

  const ir::Program& program() const { return recorder.program(); }

  runtime::Memory bound() { return {program(), layout, arenas, parameters, row_counts}; }

  void begin(Pass new_pass) {
    recorder.clear();
    layout.grow(program());
    layout.clear(program());
    pass = new_pass;
    statistics = {};
    profile.clear();
    growths_before = memory.growths;
    compilations_before = compiled();
  }

  std::int64_t compiled() const {
    const auto s = compiler.statistics();
    return s.compilations + s.disk_hits;
  }

  void check_batch(const Instances& batch) {
    user_check(&batch.recorder() == &recorder, "the minibatch belongs to another engine");
  }

  /// Schedules and runs forward what has been recorded since the last time.
  void flush() {
    ir::InstanceGraph& graph = recorder.graph();
    if (graph.done() == graph.size()) return;
    if (options.debug.verify) ir::verify(graph, program());
    Stopwatch watch;
    if (cell_graph.cells.size() != program().cells.size())
      cell_graph = scheduler::cell_graph(program());
    strategy->run(graph, cell_graph, schedule);
    if (options.debug.verify) scheduler::check(schedule, graph);
    statistics.schedule_seconds += watch.lap();
    const std::size_t first = layout.batches.size();
    layout.grow(program());
    layout.append(graph, schedule, program());
    if (options.debug.verify) scheduler::check(layout, graph, program());
    statistics.layout_seconds += watch.lap();

    plan_forward(first);
    statistics.plan_seconds += watch.lap();
    parameters.repack(team);
    if (options.debug.check_finite)
      run_checked(first);
    else
      run_plan();
    statistics.forward_seconds += watch.lap();
    statistics.instances = graph.size();
    statistics.batches = layout.batches.size();
    statistics.launches += plan.size();
    graph.set_done(ir::InstanceId(graph.size()));
  }

  const codegen::CompiledKernel& forward_kernel(ir::CellId cell) {
    return pass == Pass::training ? *modules.training(cell).forward : modules.inference(cell);
  }

  void plan_forward(std::size_t first_batch) {
    arenas.reserve_values(program(), layout);
    row_counts.resize(program().cells.size());
    for (std::size_t cell = 0; cell < layout.cells.size(); ++cell) {
      row_counts[cell] = std::int32_t(layout.cells[cell].instances.size());
      if (row_counts[cell] == 0 || pass != Pass::training) continue;
      const auto id = ir::CellId(cell);
      arenas.reserve_residuals(modules.training(id), id, layout.cells[cell]);
      draw_keys(id);
    }
    plan.clear();
    checkpoints.clear();
    reserve_scratch(first_batch, [&](ir::CellId cell) { return &forward_kernel(cell); });
    for (std::size_t b = first_batch; b < layout.batches.size(); ++b) {
      const PlacedBatch& batch = layout.batches[b];
      add_batch(plan, bound(), forward_kernel(batch.cell), batch);
      checkpoints.push_back(plan.size());
    }
  }

  template <class KernelOf>
  void reserve_scratch(std::size_t first_batch, KernelOf kernel_of) {
    std::size_t floats = 0;
    for (std::size_t b = first_batch; b < layout.batches.size(); ++b) {
      const PlacedBatch& batch = layout.batches[b];
      const runtime::BatchRows rows(layout.cells[std::size_t(batch.cell)], batch.cell_row,
                                    batch.cell_row + batch.size);
      floats = std::max(floats, runtime::scratch_floats(kernel_of(batch.cell)->kernel, rows));
    }
    arenas.scratch().reserve(floats);
  }

  /// One key per instance from (seed, step, example, call): dropout does not depend on batching.
  void draw_keys(ir::CellId cell) {
    const auto& buffers = modules.training(cell).forward->kernel.buffers;
    if (std::ranges::none_of(buffers, [](const codegen::Buffer& b) {
          return b.role == codegen::BufferRole::random_keys;
        }))
      return;
    const auto& instances = layout.cells[std::size_t(cell)].instances;
    auto& keys = arenas.keys(cell);
    keys.reserve(instances.size());
    const std::uint64_t base = runtime::mix(options.seed, step);
    for (std::size_t i = 0; i < instances.size(); ++i) {
      const ir::InstanceGraph::Stream stream = recorder.graph().stream(instances[i]);
      const std::uint64_t key = runtime::mix(base, runtime::mix(stream.example, stream.call));
      const std::uint64_t first = stream.element * std::uint64_t(codegen::child_counter_stride);
      keys.data()[i] = (key & ~std::uint64_t(UINT32_MAX)) | std::uint32_t(key + first);
    }
  }

  void run_plan() {
    if (profiling)
      plan.run_profiled(team, profile);
    else
      plan.run(team);
  }

  void run_checked(std::size_t first_batch) {
    std::size_t begin = 0;
    for (std::size_t i = 0; i < checkpoints.size(); ++i) {
      plan.run_serial(begin, checkpoints[i]);
      begin = checkpoints[i];
      runtime::check_finite(bound(), recorder.graph(), layout.batches[first_batch + i]);
    }
  }

  double objective_scale(std::optional<double> scale) const {
    if (scale) return *scale;
    const std::size_t examples = recorder.graph().examples();
    return 1.0 / double(std::max<std::size_t>(1, examples ? examples : recorder.losses().size()));
  }

  double loss(double scale) {
    double sum = 0;
    for (const ir::InstanceId id : recorder.losses())
      sum += arenas.value(program().cells[std::size_t(recorder.graph().cell(id))].state,
                          0)[layout.rows[id]];
    return sum * scale;
  }

  StepResult finish(double scale) {
    StepResult result;
    result.loss = loss(scale);
    statistics.allocations = memory.growths - growths_before;
    statistics.compilations = compiled() - compilations_before;
    statistics.bytes_held = memory.bytes;
    result.statistics = statistics;
    return result;
  }

  /// Forward, backward and weight gradients.
  double backward(const Instances& batch, double scale) {
    check_batch(batch);
    user_check(pass == Pass::training, "the minibatch was begun for inference");
    user_check(!recorder.losses().empty(), "no loss was marked in the minibatch");
    flush();
    Stopwatch watch;
    layout.place_gradients(recorder.graph(), program(), recorder.losses());
    if (options.debug.verify)
      scheduler::check_gradients(layout, recorder.graph(), program(), recorder.losses());
    statistics.layout_seconds += watch.lap();
    plan_backward();
    statistics.plan_seconds += watch.lap();
    seed_losses(scale);
    parameters.repack(team);
    run_plan();
    update.collect(bound(), modules, team);
    statistics.backward_seconds += watch.lap();
    statistics.launches += plan.size();
    return update.norm();
  }

  void plan_backward() {
    arenas.reserve_gradients(program(), layout);
    for (std::size_t cell = 0; cell < layout.cells.size(); ++cell)
      if (row_counts[cell] > 0)
        arenas.reserve_contributions(modules.training(ir::CellId(cell)), ir::CellId(cell),
                                     layout.cells[cell]);
    plan.clear();
    reserve_scratch(0, [&](ir::CellId cell) { return modules.training(cell).backward; });
    for (std::size_t b = layout.batches.size(); b-- > 0;) {
      const PlacedBatch& batch = layout.batches[b];
      if (layout.target_count[b] > 0) {
        const ir::StateId state = program().cells[std::size_t(batch.cell)].state;
        add_reader_sum(plan, bound(), modules.reader_sum(state), state, layout.first_target[b],
                       layout.target_count[b]);
      }
      add_batch(plan, bound(), *modules.training(batch.cell).backward, batch);
    }
    // Cells without instances too: the first of a param's cells clears its gradient.
    const auto& all = modules.training_modules();
    for (std::size_t cell = 0; cell < all.size(); ++cell)
      add_weights(plan, bound(), *all[cell]->weights, ir::CellId(cell));
  }

  void seed_losses(double scale) {
    const auto losses = recorder.losses();
    for (std::size_t i = 0; i < losses.size(); ++i)
      arenas.gradient(program().cells[std::size_t(recorder.graph().cell(losses[i]))].state,
                      0)[layout.loss_rows[i]] = float(scale);
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
  std::unique_ptr<scheduler::Strategy> strategy;
  runtime::Modules modules;
  runtime::Parameters parameters;
  runtime::Arenas arenas;
  runtime::Update update;
  runtime::ThreadTeam team;

  scheduler::CellGraph cell_graph;
  scheduler::Schedule schedule;
  scheduler::Layout layout;
  std::vector<std::int32_t> row_counts;
  runtime::Plan plan;
  std::vector<std::size_t> checkpoints;  // launches up to the end of each batch

  bool profiling = false;
  std::vector<LaunchProfile> profile;  // of the minibatch

  Pass pass = Pass::training;
  std::uint64_t step = 0;
  StepStatistics statistics;
  std::int64_t growths_before = 0, compilations_before = 0;
};

Engine::Engine(ir::Program program, EngineOptions options)
    : impl_(std::make_unique<Impl>(std::move(program), std::move(options))) {}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

Instances Engine::instances(Pass pass) {
  impl_->begin(pass);
  return Instances(impl_->recorder);
}

StepResult Engine::forward(const Instances& batch, std::optional<double> scale) {
  impl_->check_batch(batch);
  impl_->flush();
  return impl_->finish(impl_->objective_scale(scale));
}

StepResult Engine::gradients(const Instances& batch, std::optional<double> scale) {
  const double used = impl_->objective_scale(scale);
  const double norm = impl_->backward(batch, used);
  StepResult result = impl_->finish(used);
  result.gradient_norm = norm;
  return result;
}

StepResult Engine::train_step(const Instances& batch, Optimizer& optimizer,
                              std::optional<double> scale) {
  Impl& impl = *impl_;
  const double used = impl.objective_scale(scale);
  const double norm = impl.backward(batch, used);
  Stopwatch watch;
  impl.update.apply(impl.parameters, optimizer, norm, impl.team);
  impl.parameters.mark_changed();
  ++impl.step;
  impl.statistics.update_seconds = watch.lap();
  StepResult result = impl.finish(used);
  result.gradient_norm = norm;
  return result;
}

std::span<const float> Engine::value(const ir::CallHandle& call, int field) {
  Impl& impl = *impl_;
  const ir::CallId id = impl.recorder.resolve(call);
  const auto& fields = impl.source.states[std::size_t(impl.recorder.state(id))].fields;
  user_check(field >= 0 && field < int(fields.size()), "field {} of a state of {} fields", field,
             fields.size());
  const auto [instance, at] = impl.recorder.instance(id, field);
  if (instance >= impl.recorder.graph().done()) impl.flush();
  const ir::StateId state =
      impl.program().cells[std::size_t(impl.recorder.graph().cell(instance))].state;
  const auto n = std::size_t(fields[std::size_t(field)].shape.size());
  return {impl.arenas.value(state, at) +
              impl.layout.rows[instance] * std::size_t(codegen::row_stride(std::int64_t(n))),
          n};
}

std::span<float> Engine::parameter(std::string_view name) {
  impl_->parameters.mark_changed();
  return impl_->parameters.values(impl_->find_param(name));
}

std::span<const float> Engine::parameter(std::string_view name) const {
  const runtime::Parameters& parameters = impl_->parameters;
  return parameters.values(impl_->find_param(name));
}

std::vector<float> Engine::gradient(std::string_view name) const {
  return impl_->update.dense_gradient(impl_->parameters, impl_->find_param(name));
}

std::uint64_t Engine::step() const { return impl_->step; }
void Engine::set_step(std::uint64_t step) { impl_->step = step; }
const ir::Program& Engine::program() const { return impl_->source; }
const EngineOptions& Engine::options() const { return impl_->options; }
void Engine::set_profiling(bool on) { impl_->profiling = on; }
std::span<const LaunchProfile> Engine::profile() const { return impl_->profile; }
const std::string& Engine::target() const { return impl_->compiler.target().name; }

Engine::Compilation Engine::compilation() const {
  const codegen::CompilerStatistics statistics = impl_->compiler.statistics();
  return {statistics.seconds, statistics.compilations, statistics.disk_hits};
}

}  // namespace espalier
