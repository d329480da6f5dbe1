#include "runtime/minibatch_run.h"

#include "base/stopwatch.h"
#include "runtime/step/finite_check.h"
#include "runtime/step/forecast.h"
#include "runtime/step/random_keys.h"

namespace espalier::runtime {

void MinibatchRun::forward(const StepRequest& request, StepStatistics& statistics) {
  StepLayout& layout = work_.layout;
  if (layout.all_ran()) return;
  if (!layout.in_part()) statistics.parts = 1;
  Stopwatch watch;
  plan_forward(request);
  statistics.plan_seconds += watch.lap();
  work_.backend.io->repack(work_.params);
  values_.forget();
  work_.backend.io->write_inputs(work_.memory(), request.first_batch);
  if (work_.options.debug.check_finite)
    run_checked(request.first_batch);
  else
    run_plan();
  statistics.forward_seconds += watch.lap();
  statistics.calls = work_.recorder.size();
  statistics.instances += layout.graph().size() - layout.graph().done();
  statistics.batches += layout.layout().batches.size() - request.first_batch;
  statistics.launches += work_.plan.size();
  layout.set_ran();
}

void MinibatchRun::plan_forward(const StepRequest& request) {
  work_.backend.executor->begin(staged(work_.memory(), work_.kernels, work_.backend, request));
  work_.plan.clear();
  reserve_forward(work_.memory(), work_.kernels, work_.plan, request);
  place_indices(request.mode);
  budget_.note_peak();
  const auto& batches = work_.layout.layout().batches;
  for (std::size_t b = request.first_batch; b < batches.size(); ++b)
    add_batch(work_.plan, work_.memory(),
              forward_kernel(work_.kernels, request.mode, batches[b].cell), batches[b]);
}

/// The layout's index arrays and, in training, the random keys of cells with dropout.
void MinibatchRun::place_indices(Mode mode) {
  const scheduler::Layout& layout = work_.layout.layout();
  Executor& executor = *work_.backend.executor;
  work_.indices.place(layout, executor);
  for (std::size_t cell = 0; mode == Mode::training && cell < layout.cells.size(); ++cell) {
    const std::vector<ir::InstanceId>& instances = layout.cells[cell].instances;
    const auto id = ir::CellId(cell);
    if (instances.empty() || !draws(work_.kernels.training(id).forward->kernel)) continue;
    const std::span<std::uint64_t> keys = work_.arenas.keys(id).first(instances.size());
    draw_keys(work_.options.seed, step, work_.layout.graph(), instances, keys.data());
    work_.indices.place_keys(id, keys, executor);
  }
}

/// Batch by batch, each checked for NaN and Inf before the next one runs.
void MinibatchRun::run_checked(std::size_t first_batch) {
  const auto launches = work_.plan.launches();
  const auto& batches = work_.layout.layout().batches;
  std::size_t begin = 0;
  for (std::size_t b = first_batch; b < batches.size(); ++b) {
    std::size_t end = begin;
    while (end < launches.size() && launches[end].batch == int(b)) ++end;
    work_.backend.executor->run_range(work_.plan, begin, end);
    begin = end;
    values_.forget();
    check_finite(work_.memory(), values_, batches[b]);
  }
}

void MinibatchRun::gradients(const StepRequest& request, double scale, StepStatistics& statistics) {
  work_.layout.lay_out_gradients(statistics);
  if (work_.layout.all_ran())
    work_.backend.executor->reserve(staged(work_.memory(), work_.kernels, work_.backend, request));
  forward(request, statistics);
  Stopwatch watch;
  plan_backward(request);
  statistics.plan_seconds += watch.lap();
  work_.backend.io->seed_losses(work_.memory(), float(scale));
  work_.backend.io->repack(work_.params);
  ++gradient_changes_;
  run_plan();
  work_.backend.update->collect(work_.memory(), work_.kernels, request);
  has_gradients_ = true;
  work_.backend.io->gather_losses(work_.memory());
  statistics.backward_seconds += watch.lap();
  statistics.launches += work_.plan.size();
  statistics.parts = work_.layout.in_part() ? statistics.parts + 1 : 1;
  budget_.note_peak();
}

void MinibatchRun::plan_backward(const StepRequest& request) {
  const scheduler::Layout& layout = work_.layout.layout();
  const Memory memory = work_.memory();
  work_.plan.clear();
  reserve_backward(memory, work_.kernels, work_.plan);
  work_.indices.place_gradients(layout, *work_.backend.executor);
  budget_.note_peak();
  for (std::size_t b = layout.batches.size(); b-- > 0;) {
    const scheduler::PlacedBatch& batch = layout.batches[b];
    if (layout.target_count[b] > 0) {
      const ir::StateId state = work_.program().cells[std::size_t(batch.cell)].state;
      add_reader_sum(work_.plan, memory, work_.kernels.reader_sum(state), state,
                     layout.first_target[b], layout.target_count[b]);
    }
    add_batch(work_.plan, memory, *work_.kernels.training(batch.cell).backward, batch);
  }
  // Cells without instances too: the first of a param's cells stores its gradient. When gradients
  // are added, cells that are new since then store theirs for the first time.
  const auto& all = work_.kernels.training_kernels();
  const std::size_t before = request.accumulates() ? summed_cells_ : 0;
  summed_cells_ = all.size();
  for (std::size_t cell = 0; cell < all.size(); ++cell) {
    const auto id = ir::CellId(cell);
    if (cell >= before)
      add_weights(work_.plan, memory, *all[cell]->weights, id);
    else if (work_.indices.row_counts()[cell] > 0)
      add_weights(work_.plan, memory, work_.kernels.added_weights(id), id);
  }
}

double MinibatchRun::loss() {
  StepIo& io = *work_.backend.io;
  io.begin_losses(0);
  io.gather_losses(work_.memory());
  return io.take_loss();
}

}  // namespace espalier::runtime
