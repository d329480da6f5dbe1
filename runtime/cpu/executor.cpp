#include "runtime/cpu/executor.h"

#include <cstring>
#include <utility>

#include "runtime/step/binding.h"
#include "runtime/step/inputs.h"

namespace espalier::runtime {

void CpuExecutor::write_inputs(const Memory& memory, Placement& placement, std::size_t first) {
  visit_inputs(memory, placement, first, [&](const InputRows& rows) {
    float* const arena = memory.arenas.value(rows.state, rows.field);
    for (std::size_t i = 0; i < rows.instances.size(); ++i)
      std::memcpy(arena + (rows.first_row + i) * rows.stride(), rows.row(i).data(),
                  rows.elements * sizeof(float));
  });
}

void CpuExecutor::run(const Plan& plan, std::vector<LaunchProfile>* profile) {
  if (profile)
    plan.run_profiled(team_, *profile);
  else
    plan.run(team_);
}

void CpuExecutor::run_part(const Plan& plan, std::size_t begin, std::size_t end) {
  plan.run_serial(begin, end);
}

void CpuExecutor::repack(ParamStore& param_store) { param_store.repack(team_); }

void CpuExecutor::seed_losses(const Memory& memory, Placement& placement, float scale) {
  const auto losses = placement.losses();
  for (std::size_t i = 0; i < losses.size(); ++i)
    memory.arenas.gradient(placement.state(losses[i]), 0)[memory.layout.loss_rows[i]] = scale;
}

void CpuExecutor::gather_losses(const Memory& memory, Placement& placement) {
  for (const ir::InstanceId id : placement.losses())
    loss_ += memory.arenas.value(placement.state(id), 0)[memory.layout.rows[id]];
}

double CpuExecutor::take_loss() { return std::exchange(loss_, 0); }

void CpuExecutor::collect(const Memory& memory, const CellKernels& kernels, bool accumulates) {
  update_.collect(memory, kernels, accumulates, team_);
}

std::size_t CpuExecutor::prepare(const Memory& memory, const CellKernels& kernels,
                                 bool accumulates) {
  return update_.prepare(memory, kernels, accumulates);
}

void CpuExecutor::apply(ParamStore& param_store, Optimizer& optimizer) {
  update_.apply(param_store, optimizer, update_.norm(), team_);
}

std::vector<float> CpuExecutor::dense_gradient(ParamStore& param_store, ir::ParamId param) {
  return update_.dense_gradient(param_store, param);
}

}  // namespace espalier::runtime
