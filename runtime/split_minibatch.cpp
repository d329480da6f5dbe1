#include "runtime/split_minibatch.h"

#include "ir/record/part.h"

namespace espalier::runtime {
namespace {

class Parts {
 public:
  Parts(Workspace& workspace, MemoryBudget& budget, MinibatchRun& run, Gradients gradients,
        double scale, StepStatistics& statistics)
      : work_(workspace),
        budget_(budget),
        run_(run),
        gradients_(gradients),
        scale_(scale),
        statistics_(statistics) {}
  ~Parts() { work_.layout.select_whole(); }

  void run_halves(std::span<const ir::InstanceId> losses) {
    const std::size_t half = ir::middle(work_.recorder.graph(), losses);
    if (half == 0) {
      const bool beside_others =
          losses.size() < work_.recorder.losses().size() && !work_.on_device();
      budget_.refuse("one example", beside_others ? std::int64_t(work_.recorder.bytes()) : 0);
    }
    run_part(losses.first(half));
    run_part(losses.subspan(half));
  }

 private:
  /// Runs the part of the minibatch that `losses` depend on, in halves if it does not fit.
  void run_part(std::span<const ir::InstanceId> losses) {
    work_.layout.find_part(losses);
    if (!budget_.has_room(work_.layout.part_bytes())) return run_halves(losses);
    work_.layout.select_part();
    const StepRequest request = work_.request(gradients_);
    if (!budget_.fits(request, statistics_)) return run_halves(losses);
    run_.gradients(request, scale_, statistics_);
    gradients_ = Gradients::more;
  }

  Workspace& work_;
  MemoryBudget& budget_;
  MinibatchRun& run_;
  Gradients gradients_;  // of the next part
  double scale_;
  StepStatistics& statistics_;
};

}  // namespace

void run_in_parts(Workspace& workspace, MemoryBudget& budget, MinibatchRun& run,
                  Gradients first_gradients, double scale, StepStatistics& statistics) {
  Parts parts(workspace, budget, run, first_gradients, scale, statistics);
  statistics.parts = 0;
  workspace.layout.select_whole();
  workspace.layout.release();
  if (!budget.has_room(workspace.layout.find_bytes())) budget.refuse_recorded();
  parts.run_halves(workspace.layout.losses_by_example());
}

}  // namespace espalier::runtime
