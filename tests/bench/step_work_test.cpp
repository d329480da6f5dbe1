#include "bench/measure/step_work.h"

#include <gtest/gtest.h>

#include "ir/text/parse.h"
#include "scheduler/cell_graph.h"
#include "scheduler/strategy.h"

namespace espalier::bench {
namespace {

/// A chain of cells with a 4 × 4 matrix each behind a start without one: 32 flops and 64 bytes.
const char* const chain =
    "program chain param w [4, 4] glorot state S f32[4]\n"
    "cell start() -> S { %0 = constant(value=1) : f32[4] return %0 }\n"
    "cell step(x: child S) -> S {\n"
    "%0 = param w : f32[4, 4] %1 = port x.0 : f32[4] %2 = matmul(%0, %1) : f32[4] return %2 }";

StepWork work_of(int chains, int length, const Machine& machine) {
  const ir::Program program = ir::parse(chain);
  ir::InstanceGraph graph;
  for (int i = 0; i < chains; ++i) {
    ir::InstanceId last = graph.add(0, {}, {});
    for (int j = 0; j < length; ++j) last = graph.add(1, {&last, 1}, {});
  }
  scheduler::Schedule schedule;
  scheduler::make_strategy("depth")->run(graph, scheduler::cell_graph(program), schedule);
  return step_work(FlopCounter(program), graph, schedule, program.cells.size(), machine);
}

Machine machine(double flops, double bytes) {
  return {.vectors = "", .threads = 2, .flops = flops, .bandwidth = {{1, bytes}}};
}

TEST(StepWork, CountsBatchesAndArithmetic) {
  const StepWork work = work_of(10, 3, machine(1, 1e9));
  EXPECT_EQ(work.instances, 40U);
  EXPECT_EQ(work.batches, 4U);
  EXPECT_EQ(work.flops, (Flops{960, 960, 960}));
  EXPECT_EQ(work.cells[0].batches, 1U);
  EXPECT_EQ(work.cells[0].instances, 10U);
  EXPECT_EQ(work.cells[1].batches, 3U);
  EXPECT_EQ(work.cells[1].instances, 30U);
  EXPECT_EQ(work.cells[1].parts[0].flops, 960);
  EXPECT_EQ(work.cells[0].parts[0].flops, 0);
}

TEST(StepWork, TheFloorIsArithmeticWhereBatchesAreLarge) {
  const StepWork work = work_of(10, 3, machine(10, 1e9));
  EXPECT_DOUBLE_EQ(work.floor_seconds(false), 96);
  EXPECT_DOUBLE_EQ(work.floor_seconds(true), 3 * 96);
}

TEST(StepWork, TheFloorIsReadingWeightsWhereTheyAreSmall) {
  // 64 bytes for each of three batches in each direction, and once for the weights' gradient.
  const StepWork work = work_of(1, 3, machine(1e9, 32));
  EXPECT_DOUBLE_EQ(work.floor_seconds(false), 3 * 2);
  EXPECT_DOUBLE_EQ(work.floor_seconds(true), (3 + 3 + 1) * 2);
}

}  // namespace
}  // namespace espalier::bench
