#include "base/random.h"

#include <gtest/gtest.h>

#include <array>

namespace espalier::data {
namespace {

TEST(Random, GivesThePublishedSequenceOfSplitMix64) {
  Random random(1234567);
  EXPECT_EQ(random.next(), 6457827717110365317u);
  EXPECT_EQ(random.next(), 3203168211198807973u);
  EXPECT_EQ(random.next(), 9817491932198370423u);
  EXPECT_EQ(random.next(), 4593380528125082431u);
  EXPECT_EQ(random.next(), 16408922859458223821u);
}

TEST(Random, BelowIsUniformWithinItsBound) {
  constexpr int kDraws = 70'000, kBound = 7;
  Random random(1);
  std::array<int, kBound> counts = {};
  for (int i = 0; i < kDraws; ++i) ++counts.at(random.below(kBound));
  for (const int count : counts) EXPECT_NEAR(count, kDraws / kBound, 500);  // five sigma
  for (int i = 0; i < 10; ++i) EXPECT_EQ(random.below(1), 0u);
}

TEST(Random, StreamsDiffer) {
  EXPECT_EQ(Random::stream(3, 4).next(), Random::stream(3, 4).next());
  EXPECT_NE(Random::stream(3, 4).next(), Random::stream(3, 5).next());
  EXPECT_NE(Random::stream(3, 4).next(), Random::stream(4, 4).next());
  EXPECT_NE(Random::stream(3, 4).next(), Random::stream(4, 3).next());
}

TEST(Random, ShufflesIntoEveryOrderEquallyOften) {
  std::array<int, 6> counts = {};
  Random random(9);
  for (int i = 0; i < 60'000; ++i) {
    std::array<int, 3> items = {0, 1, 2};
    shuffle(std::span<int>(items), random);
    ++counts.at(items[0] * 2 + (items[1] > items[2]));
  }
  for (const int count : counts) EXPECT_NEAR(count, 10'000, 460);  // five sigma
}

}  // namespace
}  // namespace espalier::data
