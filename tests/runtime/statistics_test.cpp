// The one sum of step statistics: a counter that is added to the struct and not to the sum fails.
#include "runtime/step/statistics.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>

namespace espalier {
namespace {

constexpr std::size_t fields = 24;

TEST(StepStatistics, HaveNoFieldThatThisTestDoesNotKnow) {
  // Every field takes 8 bytes, as `parts` does with its padding. If this fails, add the new field
  // to operator+= and below.
  EXPECT_EQ(sizeof(StepStatistics), fields * 8);
}

TEST(StepStatistics, AddEveryCounterAndTime) {
  StepStatistics step;
  step.calls = step.instances = step.batches = step.launches = 1;
  step.device_launches = step.device_copies = step.device_replays = step.device_walks = 1;
  step.walked_launches = step.grid_barriers = step.device_contractions = 1;
  step.submit_seconds = step.wait_seconds = step.schedule_seconds = step.layout_seconds = 1;
  step.plan_seconds = step.forward_seconds = step.backward_seconds = step.update_seconds = 1;
  step.allocations = step.compilations = step.parts = 1;
  step.bytes_held = step.peak_bytes = 1;
  StepStatistics sum;
  for (int i = 0; i < 3; ++i) sum += step;

  // Field by field, as 8 bytes each: counts and times are 3, the two sizes those of the last step.
  int threes = 0, ones = 0;
  for (std::size_t i = 0; i < fields; ++i) {
    std::int64_t bits = 0;
    std::memcpy(&bits, reinterpret_cast<const char*>(&sum) + 8 * i, 8);
    const double time = std::bit_cast<double>(bits);
    threes += bits == 3 || time == 3;
    ones += bits == 1;
  }
  EXPECT_EQ(threes, int(fields - 2));
  EXPECT_EQ(ones, 2);
}

}  // namespace
}  // namespace espalier
