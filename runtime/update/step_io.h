// Inputs, packed weights and losses of a step by kernels, for devices whose memory the host cannot
// reach. Losses return to the host through Results.
#pragma once

#include <utility>
#include <vector>

#include "runtime/step/step_io.h"
#include "runtime/update/results.h"
#include "runtime/update/step_plan.h"

namespace espalier::runtime {

class KernelStepIo final : public StepIo {
 public:
  /// All outlive this.
  KernelStepIo(MemoryCounter& counter, Executor& executor, codegen::Compiler& compiler)
      : plan_(executor, compiler), results_(counter, plan_.memory()) {}

  Results& results() { return results_; }

  void repack(ParamStore& params) override;
  void write_inputs(const Memory& memory, std::size_t first) override;
  void seed_losses(const Memory& memory, float scale) override;
  void begin_losses(double sum) override;
  void gather_losses(const Memory& memory) override;
  double take_loss() override;
  void reserve_losses(std::size_t count) override;
  Staged staged(const Memory& memory, const StepRequest& request) const override;

 private:
  StepPlan plan_;
  Results results_;
  double loss_ = 0;                                               // of earlier parts
  std::vector<std::int32_t> places_, rows_;                       // of losses
  std::vector<std::int32_t> recorded_;                            // bits of inputs
  std::vector<std::pair<std::int64_t, Compiled>> input_kernels_;  // by elements of a row
  std::vector<std::pair<std::vector<codegen::Packing>, Compiled>> pack_kernels_;
  Compiled seed_ = nullptr, gather_ = nullptr;
};

}  // namespace espalier::runtime
