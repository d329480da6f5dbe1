#include "runtime/cpu/executor.h"

#include "runtime/cpu/step_io.h"
#include "runtime/cpu/update.h"

namespace espalier::runtime {

Backend make_cpu_backend(const std::vector<StoredParam>& stored, MemoryCounter& counter,
                         int threads) {
  auto executor = std::make_unique<CpuExecutor>(threads);
  ThreadTeam& team = executor->team();
  return {std::move(executor), std::make_unique<CpuStepIo>(team),
          std::make_unique<CpuUpdate>(stored, counter, team)};
}

}  // namespace espalier::runtime
