#include "runtime/cpu/step_io.h"

#include <cstring>

#include "runtime/step/inputs.h"

namespace espalier::runtime {

void CpuStepIo::write_inputs(const Memory& memory, std::size_t first) {
  visit_inputs(memory, first, [&](const InputRows& rows) {
    float* const arena = memory.arenas.value(rows.state, rows.field);
    for (std::size_t i = 0; i < rows.instances.size(); ++i)
      std::memcpy(arena + (rows.first_row + i) * rows.stride(), rows.row(i).data(),
                  rows.elements * sizeof(float));
  });
}

void CpuStepIo::seed_losses(const Memory& memory, float scale) {
  for (std::size_t i = 0; i < memory.losses.size(); ++i)
    memory.arenas.gradient(memory.state(memory.losses[i]), 0)[memory.layout.loss_rows[i]] = scale;
}

void CpuStepIo::gather_losses(const Memory& memory) {
  for (const ir::InstanceId id : memory.losses)
    loss_ += memory.arenas.value(memory.state(id), 0)[memory.layout.rows[id]];
}

}  // namespace espalier::runtime
