// The statistics of the minibatch at hand: what its run adds, and how far the counters of memory,
// compiler and device have moved since it began. Owned by the engine.
#pragma once

#include "codegen/compiler.h"
#include "runtime/memory_budget.h"

namespace espalier::runtime {

class StepMeter {
 public:
  /// All outlive this.
  StepMeter(const Workspace& workspace, const MemoryBudget& budget,
            const codegen::Compiler& compiler)
      : work_(workspace), budget_(budget), compiler_(compiler) {}

  /// A new minibatch begins.
  void begin();
  /// What counts and times of its run are added to.
  StepStatistics& run() { return run_; }
  /// All of the minibatch so far.
  StepStatistics total() const;

 private:
  struct Counters {
    std::int64_t growths = 0, compilations = 0;
    Traffic traffic;
  };
  Counters counters() const;

  const Workspace& work_;
  const MemoryBudget& budget_;
  const codegen::Compiler& compiler_;
  StepStatistics run_;
  Counters before_;
};

}  // namespace espalier::runtime
