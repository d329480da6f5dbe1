#include "runtime/step/step_layout.h"

#include "base/stopwatch.h"
#include "ir/record/recorder.h"
#include "ir/verify.h"

namespace espalier::runtime {

StepLayout::StepLayout(ir::Recorder& recorder, const EngineOptions& options)
    : recorder_(recorder),
      verify_(options.debug.verify),
      strategy_(options.custom_strategy ? options.custom_strategy
                                        : scheduler::make_strategy(options.strategy)) {
  select_whole();
}

void StepLayout::restart() {
  layout_.clear(program());
  ran_batches_ = 0;
  graph().set_done(0);
}

void StepLayout::select_whole() {
  in_part_ = false;
  restart();
}

void StepLayout::select_part() {
  part_.take(recorder_.graph());
  in_part_ = true;
  restart();
}

void StepLayout::find_part(std::span<const ir::InstanceId> losses) {
  part_.find(recorder_.graph(), losses);
}

std::size_t StepLayout::find_bytes() const {
  const ir::GraphSize whole = recorder_.size_of_graph();
  return ir::Part::most_find_bytes(whole) +
         ir::LossGroups::most_bytes(recorder_.graph().examples(), whole.losses);
}

std::size_t StepLayout::part_bytes() const {
  return part_.size().bytes() + scheduler::Layout::most_bytes(part_.size(), program());
}

std::size_t StepLayout::layout_bytes() {
  if (is_laid_out()) return 0;
  ir::GraphSize size = graph().graph_size();
  size.losses = losses().size();
  return scheduler::Layout::most_bytes(size, program());
}

/// A released layout has no cells, so it does not count even if there are no instances.
bool StepLayout::is_laid_out() {
  return layout_.rows.size() == graph().size() && layout_.cells.size() == program().cells.size();
}

std::span<const ir::InstanceId> StepLayout::losses_by_example() {
  return groups_.group(recorder_.graph(), recorder_.losses());
}

void StepLayout::lay_out(StepStatistics& statistics) {
  if (is_laid_out()) return;
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
  gradients_laid_out_ = false;
  statistics.layout_seconds += watch.lap();
}

void StepLayout::lay_out_gradients(StepStatistics& statistics) {
  if (gradients_laid_out_ && layout_.loss_rows.size() == losses().size()) return;
  Stopwatch watch;
  layout_.place_gradients(graph(), program(), losses());
  if (verify_) scheduler::check_gradients(layout_, graph(), program(), losses());
  gradients_laid_out_ = true;
  statistics.layout_seconds += watch.lap();
}

void StepLayout::set_ran() {
  ran_batches_ = layout_.batches.size();
  graph().set_done(ir::InstanceId(graph().size()));
}

std::size_t StepLayout::bytes() const {
  return recorder_.bytes() + part_.bytes() + groups_.bytes() + schedule_.bytes() + layout_.bytes();
}

void StepLayout::release_parts() {
  part_ = {};
  groups_ = {};
}

void StepLayout::release() {
  layout_ = {};
  schedule_ = {};
}

}  // namespace espalier::runtime
