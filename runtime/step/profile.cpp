#include <chrono>

#include "codegen/kernel/copies.h"
#include "runtime/step/plan.h"

namespace espalier::runtime {

LaunchProfile Plan::described(std::size_t i) const {
  const Launch& launch = launches_[i];
  const codegen::Kernel& kernel = launch.kernel->kernel;
  const codegen::Stage& stage = launch.kernel->launched(std::size_t(launch.stage));
  const std::int64_t rows = launch.row_end - launch.row_begin;
  return {.kernel = kernel.name,
          .stage = launch.stage,
          .rows = rows,
          .copied = rows * codegen::copied_floats(kernel, stage) * std::int64_t(sizeof(float))};
}

void Plan::run_profiled(ThreadTeam& team, std::vector<LaunchProfile>& profile) const {
  const std::size_t first = profile.size();
  for (std::size_t i = 0; i < launches_.size(); ++i) profile.push_back(described(i));
  team.run([&](int thread) {
    using Clock = std::chrono::steady_clock;
    team.barrier();
    Clock::time_point last = Clock::now();
    for (std::size_t i = 0; i < launches_.size(); ++i) {
      run_share(launches_[i], thread, team.size());
      team.barrier();
      if (thread != 0) continue;
      const Clock::time_point now = Clock::now();
      profile[first + i].seconds = std::chrono::duration<double>(now - last).count();
      last = now;
    }
  });
}

}  // namespace espalier::runtime
