// What an engine runs next, scheduled and laid out: the recorded minibatch, or a part of it. Owned
// by the engine, which places instances before it runs or foretells them. Whatever was placed but
// has not run is placed again together with what is recorded after it.
#pragma once

#include <memory>
#include <span>

#include "ir/record/part.h"
#include "ir/record/recorder.h"
#include "runtime/step/options.h"
#include "scheduler/layout.h"
#include "scheduler/strategy.h"

namespace espalier::runtime {

class Placement {
 public:
  /// UserError for an unknown strategy. `recorder` outlives this.
  Placement(ir::Recorder& recorder, const EngineOptions& options);

  ir::InstanceGraph& graph() { return in_part_ ? part_.graph() : recorder_.graph(); }
  std::span<const ir::InstanceId> losses() const {
    return in_part_ ? part_.losses() : recorder_.losses();
  }
  /// Of an instance's outputs.
  ir::StateId state(ir::InstanceId id) {
    return program().cells[std::size_t(graph().cell(id))].state;
  }
  const scheduler::Layout& layout() const { return layout_; }
  /// Batches of the layout from here on have not run forward.
  std::size_t ran_batches() const { return ran_batches_; }

  /// The whole minibatch, or what `find_part` found; nothing of it is placed or counts as having
  /// run.
  void take_whole();
  void take_part();
  /// Finds what these losses of the minibatch depend on; nothing is taken.
  void find_part(std::span<const ir::InstanceId> losses);

  /// Bytes that `find_part`, and `losses_by_example`, add at the most.
  std::size_t most_find_bytes() const;
  /// Bytes that what was found adds once it is taken and placed, at the most.
  std::size_t most_part_bytes() const;
  /// Bytes that placing what is taken adds, gradient rows included, at the most; 0 once it is done.
  std::size_t most_place_bytes();
  /// The losses of the minibatch with those of one example together.
  std::span<const ir::InstanceId> losses_by_example();

  /// Schedules and lays out what has not run.
  void place(StepStatistics& statistics);
  /// Gives readers and losses their gradient rows.
  void place_gradients(StepStatistics& statistics);
  /// What is placed has run forward.
  void set_ran();

  /// Held by index arrays, those of the recorder too.
  std::size_t bytes() const;
  /// Gives the memory of layout and schedule back; nothing is placed then.
  void release();
  /// And that of parts, while the whole is taken.
  void release_parts();

 private:
  void take();
  bool is_placed() { return layout_.rows.size() == graph().size(); }
  const ir::Program& program() const { return recorder_.program(); }

  ir::Recorder& recorder_;
  bool verify_;
  std::unique_ptr<scheduler::Strategy> strategy_;
  scheduler::CellGraph cell_graph_;
  scheduler::Schedule schedule_;
  scheduler::Layout layout_;
  std::size_t ran_batches_ = 0;
  bool gradients_placed_ = false;  // if there are no further losses
  ir::Part part_;
  ir::LossGroups groups_;
  bool in_part_ = false;
};

}  // namespace espalier::runtime
