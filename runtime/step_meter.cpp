#include "runtime/step_meter.h"

namespace espalier::runtime {

void StepMeter::begin() {
  run_ = {};
  before_ = counters();
}

StepMeter::Counters StepMeter::counters() const {
  const codegen::CompilerStatistics compiled = compiler_.statistics();
  return {work_.fixed.growths + work_.arenas.memory().growths,
          compiled.compilations + compiled.disk_hits, work_.backend.executor->traffic()};
}

StepStatistics StepMeter::total() const {
  StepStatistics total = run_;
  const Counters now = counters();
  const Traffic &traffic = now.traffic, &before = before_.traffic;
  total.allocations = now.growths - before_.growths;
  total.compilations = now.compilations - before_.compilations;
  total.device_launches = traffic.launches - before.launches;
  total.device_copies = traffic.copies - before.copies;
  total.device_replays = traffic.replays - before.replays;
  total.device_walks = traffic.walks - before.walks;
  total.walked_launches = traffic.walked_launches - before.walked_launches;
  total.grid_barriers = traffic.grid_barriers - before.grid_barriers;
  total.device_contractions = traffic.products - before.products;
  total.submit_seconds = traffic.submit_seconds - before.submit_seconds;
  total.wait_seconds = traffic.wait_seconds - before.wait_seconds;
  total.bytes_held = budget_.held();
  total.peak_bytes = budget_.peak();
  return total;
}

}  // namespace espalier::runtime
