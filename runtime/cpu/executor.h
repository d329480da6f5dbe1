// The executor of the CPU: a team of threads over the host's memory.
#pragma once

#include "base/thread_team.h"
#include "runtime/step/backend.h"

namespace espalier::runtime {

class CpuExecutor final : public Executor {
 public:
  explicit CpuExecutor(int threads) : team_(threads) {}

  ThreadTeam& team() { return team_; }

  DeviceMemory* memory() override { return nullptr; }
  std::int64_t free_bytes() override { return 0; }
  void begin(const Staged&) override {}
  const void* place(const void* values, std::size_t) override { return values; }
  void run(const Plan& plan, std::vector<LaunchProfile>* profile) override {
    profile ? plan.run_profiled(team_, *profile) : plan.run(team_);
  }
  void run_range(const Plan& plan, std::size_t begin, std::size_t end) override {
    plan.run_serial(begin, end);
  }

 private:
  ThreadTeam team_;
};

/// `stored` and `counter` outlive it.
Backend make_cpu_backend(const std::vector<StoredParam>& stored, MemoryCounter& counter,
                         int threads);

}  // namespace espalier::runtime
