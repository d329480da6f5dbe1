// Inputs and losses of a step in the host's memory.
#pragma once

#include <utility>

#include "runtime/step/step_io.h"

namespace espalier::runtime {

class CpuStepIo final : public StepIo {
 public:
  /// `team` outlives this.
  explicit CpuStepIo(ThreadTeam& team) : team_(team) {}

  void repack(ParamStore& params) override { params.repack(team_); }
  void write_inputs(const Memory& memory, std::size_t first) override;
  void seed_losses(const Memory& memory, float scale) override;
  void begin_losses(double sum) override { loss_ = sum; }
  void gather_losses(const Memory& memory) override;
  double take_loss() override { return std::exchange(loss_, 0); }

 private:
  ThreadTeam& team_;
  double loss_ = 0;
};

}  // namespace espalier::runtime
