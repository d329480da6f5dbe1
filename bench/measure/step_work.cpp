#include "bench/measure/step_work.h"

#include <algorithm>

namespace espalier::bench {

double StepWork::floor_seconds(bool training) const {
  double seconds = 0;
  for (const CellWork& cell : cells)
    for (std::size_t part = 0; part < (training ? cell.parts.size() : 1); ++part)
      seconds += cell.parts[part].floor_seconds;
  return seconds;
}

StepWork step_work(const FlopCounter& counter, const ir::InstanceGraph& graph,
                   const scheduler::Schedule& schedule, std::size_t cells, const Machine& machine) {
  StepWork work;
  work.instances = graph.size();
  work.batches = schedule.batches.size();
  work.cells.resize(cells);
  const auto of = [&](ir::CellId cell) -> CellWork& {
    return work.cells[static_cast<std::size_t>(cell)];
  };
  double weight_bytes = 0;
  for (const scheduler::Batch& batch : schedule.batches)
    if (of(batch.cell).batches++ == 0) weight_bytes += counter.cell(batch.cell).weight_bytes;
  const double bandwidth = bandwidth_at(machine.bandwidth, weight_bytes / machine.threads);

  const auto add = [&](PartWork& part, double flops, double bytes) {
    if (flops == 0) return;
    part.flops += flops;
    part.floor_seconds += std::max(flops / machine.flops, bytes / bandwidth);
  };
  std::vector<double> weight_flops(cells);
  for (const scheduler::Batch& batch : schedule.batches) {
    Flops flops;
    for (const ir::InstanceId id : schedule.instances(batch)) flops += counter.instance(graph, id);
    const double bytes = counter.cell(batch.cell).weight_bytes;
    CellWork& cell = of(batch.cell);
    cell.instances += schedule.instances(batch).size();
    add(cell.parts[0], flops.forward, bytes);
    add(cell.parts[1], flops.input_gradients, bytes);
    weight_flops[static_cast<std::size_t>(batch.cell)] += flops.weight_gradients;
    work.flops += flops;
  }
  for (std::size_t cell = 0; cell < cells; ++cell)
    add(work.cells[cell].parts[2], weight_flops[cell],
        counter.cell(static_cast<ir::CellId>(cell)).weight_bytes);
  return work;
}

}  // namespace espalier::bench
