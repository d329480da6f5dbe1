// What the engine runs next, scheduled and laid out: the recorded minibatch, or a part of it. Owned
// by the engine, which lays instances out before it forecasts or runs them. What is laid out but
// has not run is laid out again together with what is recorded after it.
#pragma once

#include <memory>
#include <span>

#include "ir/record/part.h"
#include "ir/record/recorder.h"
#include "runtime/step/options.h"
#include "runtime/step/statistics.h"
#include "scheduler/layout.h"
#include "scheduler/strategy.h"

namespace espalier::runtime {

class StepLayout {
 public:
  /// UserError for an unknown strategy. `recorder` outlives this.
  StepLayout(ir::Recorder& recorder, const EngineOptions& options);

  ir::InstanceGraph& graph() { return in_part_ ? part_.graph() : recorder_.graph(); }
  std::span<const ir::InstanceId> losses() const {
    return in_part_ ? part_.losses() : recorder_.losses();
  }
  const scheduler::Layout& layout() const { return layout_; }
  /// Batches of the layout from here on have not run forward.
  std::size_t ran_batches() const { return ran_batches_; }
  /// Whether everything recorded in what is selected has run forward.
  bool all_ran() { return graph().done() == graph().size(); }

  /// Selects the whole minibatch, or the part that `find_part` found; nothing of it is laid out or
  /// counts as having run.
  void select_whole();
  void select_part();
  bool in_part() const { return in_part_; }
  /// Finds what these losses of the minibatch depend on; selects nothing.
  void find_part(std::span<const ir::InstanceId> losses);
  /// The losses of the minibatch with those of one example together.
  std::span<const ir::InstanceId> losses_by_example();

  // Upper bounds on the bytes that are added by:
  std::size_t find_bytes() const;  ///< `find_part` and `losses_by_example`
  std::size_t part_bytes() const;  ///< selecting what was found and laying it out
  std::size_t layout_bytes();      ///< laying out what is selected, gradient rows included

  /// Schedules and lays out what has not run.
  void lay_out(StepStatistics& statistics);
  /// Gives readers and losses their gradient rows.
  void lay_out_gradients(StepStatistics& statistics);
  /// What is laid out has run forward.
  void set_ran();

  /// Held by index arrays, those of the recorder included.
  std::size_t bytes() const;
  /// Gives back the memory of layout and schedule; nothing is laid out then.
  void release();
  /// Gives back the memory of parts, while the whole is selected.
  void release_parts();

 private:
  void restart();
  bool is_laid_out();
  const ir::Program& program() const { return recorder_.program(); }

  ir::Recorder& recorder_;
  bool verify_;
  std::shared_ptr<const scheduler::Strategy> strategy_;
  scheduler::CellGraph cell_graph_;
  scheduler::Schedule schedule_;
  scheduler::Layout layout_;
  std::size_t ran_batches_ = 0;
  bool gradients_laid_out_ = false;  // unless there are further losses
  ir::Part part_;
  ir::LossGroups groups_;
  bool in_part_ = false;
};

}  // namespace espalier::runtime
