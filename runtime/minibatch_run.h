// The way of one minibatch, or of a part of it, once it is known to fit: plan forward, run, plan
// backward, run, collect. Made by the engine; what runs is what the workspace's layout holds.
#pragma once

#include <vector>

#include "runtime/memory_budget.h"
#include "runtime/step/state_values.h"
#include "runtime/step/statistics.h"

namespace espalier::runtime {

class MinibatchRun {
 public:
  /// Both outlive this.
  MinibatchRun(Workspace& workspace, MemoryBudget& budget)
      : work_(workspace), budget_(budget), values_(workspace.backend.executor->memory()) {}

  /// Runs what has not run yet forward. The request's gradients say what will follow.
  void forward(const StepRequest& request, StepStatistics& statistics);
  /// Runs the same and then backward; gradients are of `scale` times the losses.
  void gradients(const StepRequest& request, double scale, StepStatistics& statistics);
  /// Adds up the losses of what has run.
  double loss();

  /// Rows of a field of a state, where the host can read them; valid until something runs.
  const float* values(ir::StateId state, int field) {
    return values_.field(work_.memory(), state, field);
  }
  /// How often gradients of params have begun to change, and whether they ever were complete.
  std::size_t gradient_changes() const { return gradient_changes_; }
  bool has_gradients() const { return has_gradients_; }

  std::uint64_t step = 0;              // random numbers are keyed by it
  bool profiling = false;              // launches are timed one by one
  std::vector<LaunchProfile> profile;  // of the minibatch

 private:
  void plan_forward(const StepRequest& request);
  void place_indices(Mode mode);
  void plan_backward(const StepRequest& request);
  void run_plan() { work_.backend.executor->run(work_.plan, profiling ? &profile : nullptr); }
  void run_checked(std::size_t first_batch);

  Workspace& work_;
  MemoryBudget& budget_;
  StateValues values_;
  std::size_t gradient_changes_ = 0;
  bool has_gradients_ = false;
  std::size_t summed_cells_ = 0;  // cells that the gradients so far include
};

}  // namespace espalier::runtime
