#include "runtime/step/statistics.h"

namespace espalier {

StepStatistics& StepStatistics::operator+=(const StepStatistics& step) {
  // A field that is added to the struct makes this fail to compile until it is handled here.
  auto& [calls, instances, batches, launches, device_launches, device_copies, device_replays,
         device_walks, walked_launches, grid_barriers, device_contractions, submit, wait, schedule,
         layout, plan, forward, backward, update, allocations, compilations, parts, held, peak] =
      *this;
  calls += step.calls;
  instances += step.instances;
  batches += step.batches;
  launches += step.launches;
  device_launches += step.device_launches;
  device_copies += step.device_copies;
  device_replays += step.device_replays;
  device_walks += step.device_walks;
  walked_launches += step.walked_launches;
  grid_barriers += step.grid_barriers;
  device_contractions += step.device_contractions;
  submit += step.submit_seconds;
  wait += step.wait_seconds;
  schedule += step.schedule_seconds;
  layout += step.layout_seconds;
  plan += step.plan_seconds;
  forward += step.forward_seconds;
  backward += step.backward_seconds;
  update += step.update_seconds;
  allocations += step.allocations;
  compilations += step.compilations;
  parts += step.parts;
  held = step.bytes_held;
  peak = step.peak_bytes;
  return *this;
}

}  // namespace espalier
