// What lies between the measured numbers: interpolation, quartiles, floors. Of the measurements
// themselves only that they are there.
#include "bench/measure/machine.h"

#include <gtest/gtest.h>

#include "bench/measure/machine_loops.h"
#include "bench/measure/statistics.h"

namespace espalier::bench {
namespace {

TEST(Machine, MeasuresAllThatItSays) {
  ThreadTeam team(2);
  Machine machine;
  measure_flops(team, machine);
  measure_bandwidth(team, machine);
  EXPECT_EQ(machine.threads, 2);
  EXPECT_EQ(machine.vectors, host_loops().name);
  EXPECT_GT(machine.flops_one_thread, 0);
  EXPECT_GT(machine.flops, 0);
  ASSERT_GE(machine.bandwidth.size(), 2U);
  for (std::size_t i = 0; i < machine.bandwidth.size(); ++i) {
    EXPECT_GT(machine.bandwidth[i].bytes_per_second, 0);
    if (i == 0) continue;
    EXPECT_GT(machine.bandwidth[i].bytes_per_thread, machine.bandwidth[i - 1].bytes_per_thread);
  }
}

TEST(Machine, LoopsDoAllTheirWork) {
  const Loops loops = host_loops();
  alignas(64) static float numbers[4096];
  for (float& number : numbers) number = 1;
  // A sum over the vector accumulators, of which the first lane is given back.
  const float once = loops.read(numbers, 2048);
  EXPECT_GT(once, 0);
  EXPECT_EQ(loops.read(numbers, 4096), 2 * once);
  const float tended = loops.multiply_add(1000);  // each accumulator tends to 1
  EXPECT_EQ(loops.multiply_add(2000), tended);
  EXPECT_GE(loops.flops_per_round, 2 * tended);
}

TEST(Bandwidth, IsInterpolatedOverTheLogarithm) {
  const Bandwidth curve[] = {{1024, 80}, {4096, 40}, {16384, 10}};
  EXPECT_EQ(bandwidth_at(curve, 1), 80);
  EXPECT_EQ(bandwidth_at(curve, 1024), 80);
  EXPECT_DOUBLE_EQ(bandwidth_at(curve, 2048), 60);
  EXPECT_DOUBLE_EQ(bandwidth_at(curve, 4096), 40);
  EXPECT_DOUBLE_EQ(bandwidth_at(curve, 8192), 25);
  EXPECT_EQ(bandwidth_at(curve, 1e9), 10);
}

TEST(Spread, QuartilesAreInterpolated) {
  const Spread four = spread({4, 1, 3, 2});
  EXPECT_EQ(four.min, 1);
  EXPECT_EQ(four.q1, 1.75);
  EXPECT_EQ(four.median, 2.5);
  EXPECT_EQ(four.q3, 3.25);
  EXPECT_EQ(four.max, 4);
  const Spread one = spread({7});
  EXPECT_EQ(one.min, 7);
  EXPECT_EQ(one.median, 7);
  EXPECT_EQ(one.max, 7);
  EXPECT_EQ(spread({}).median, 0);
}

}  // namespace
}  // namespace espalier::bench
