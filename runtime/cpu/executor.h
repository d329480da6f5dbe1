// The executor of the CPU: a team of threads, and the host's memory.
#pragma once

#include "base/thread_team.h"
#include "runtime/cpu/update.h"
#include "runtime/step/executor.h"

namespace espalier::runtime {

class CpuExecutor final : public Executor {
 public:
  /// `stored` outlives the executor.
  CpuExecutor(const ir::Program& program, const std::vector<StoredParam>& stored,
              MemoryCounter& counter, int threads)
      : update_(program, stored, counter), team_(threads) {}

  DeviceMemory* memory() override { return nullptr; }
  std::int64_t free_bytes() override { return 0; }
  void begin(const Staged&) override {}
  const void* place(const void* values, std::size_t) override { return values; }

  void write_inputs(const Memory& memory, Placement& placement, std::size_t first) override;
  void run(const Plan& plan, std::vector<LaunchProfile>* profile) override;
  void run_part(const Plan& plan, std::size_t begin, std::size_t end) override;
  void repack(ParamStore& param_store) override;

  void seed_losses(const Memory& memory, Placement& placement, float scale) override;
  void begin_losses(double sum) override { loss_ = sum; }
  void gather_losses(const Memory& memory, Placement& placement) override;
  double take_loss() override;

  void collect(const Memory& memory, const CellKernels& kernels, bool accumulates) override;
  void make_gradients(const Memory& memory, const CellKernels& kernels) override {
    update_.make_gradients(memory, kernels);
  }
  std::size_t prepare(const Memory& memory, const CellKernels& kernels, bool accumulates) override;
  void apply(ParamStore& param_store, Optimizer& optimizer) override;
  double norm() override { return update_.norm(); }
  std::vector<float> dense_gradient(ParamStore& param_store, ir::ParamId param) override;
  std::size_t bytes() const override { return update_.bytes(); }

 private:
  Update update_;
  ThreadTeam team_;
  double loss_ = 0;
};

}  // namespace espalier::runtime
