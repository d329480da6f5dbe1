#include "runtime/step/placement.h"

#include "base/stopwatch.h"
#include "ir/record/recorder.h"
#include "ir/verify.h"

namespace espalier::runtime {

Placement::Placement(ir::Recorder& recorder, const EngineOptions& options)
    : recorder_(recorder),
      verify_(options.debug.verify),
      strategy_(scheduler::make_strategy(options.strategy)) {
  take_whole();
}

void Placement::take() {
  layout_.clear(program());
  ran_batches_ = 0;
  graph().set_done(0);
}

void Placement::take_whole() {
  in_part_ = false;
  take();
}

void Placement::take_part() {
  part_.take(recorder_.graph());
  in_part_ = true;
  take();
}

void Placement::find_part(std::span<const ir::InstanceId> losses) {
  part_.find(recorder_.graph(), losses);
}

std::size_t Placement::most_find_bytes() const {
  const ir::GraphSize whole = recorder_.size_of_graph();
  return ir::Part::most_find_bytes(whole) +
         ir::LossGroups::most_bytes(recorder_.graph().examples(), whole.losses);
}

std::size_t Placement::most_part_bytes() const {
  return part_.size().bytes() + scheduler::Layout::most_bytes(part_.size(), program());
}

std::size_t Placement::most_place_bytes() {
  if (is_placed()) return 0;
  ir::GraphSize size = graph().graph_size();
  size.losses = losses().size();
  return scheduler::Layout::most_bytes(size, program());
}

std::span<const ir::InstanceId> Placement::losses_by_example() {
  return groups_.group(recorder_.graph(), recorder_.losses());
}

void Placement::place(StepStatistics& statistics) {
  if (is_placed()) return;
  if (verify_) ir::verify(graph(), program());
  Stopwatch watch;
  layout_.grow(program());
  layout_.cut(ran_batches_, graph().done(), program());
  if (cell_graph_.cells.size() != program().cells.size())
    cell_graph_ = scheduler::cell_graph(program());
  strategy_->run(graph(), cell_graph_, schedule_);
  if (verify_) scheduler::check(schedule_, graph());
  statistics.schedule_seconds += watch.lap();
  layout_.append(graph(), schedule_, program());
  if (verify_) scheduler::check(layout_, graph(), program());
  gradients_placed_ = false;
  statistics.layout_seconds += watch.lap();
}

void Placement::place_gradients(StepStatistics& statistics) {
  if (gradients_placed_ && layout_.loss_rows.size() == losses().size()) return;
  Stopwatch watch;
  layout_.place_gradients(graph(), program(), losses());
  if (verify_) scheduler::check_gradients(layout_, graph(), program(), losses());
  gradients_placed_ = true;
  statistics.layout_seconds += watch.lap();
}

void Placement::set_ran() {
  ran_batches_ = layout_.batches.size();
  graph().set_done(ir::InstanceId(graph().size()));
}

std::size_t Placement::bytes() const {
  return recorder_.bytes() + part_.bytes() + groups_.bytes() + schedule_.bytes() + layout_.bytes();
}

void Placement::release_parts() {
  part_ = {};
  groups_ = {};
}

void Placement::release() {
  layout_ = {};
  schedule_ = {};
}

}  // namespace espalier::runtime
