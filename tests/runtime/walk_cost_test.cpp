// The choice between walks and launches, with made-up constants.
#include "runtime/cuda/walk_cost.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "base/disk_cache.h"
#include "runtime/cuda/held_weights.h"
#include "tests/support/temporary_folder.h"

namespace espalier::runtime {
namespace {

/// Roughly those of a current GPU.
WalkCosts sample() {
  return {.launch = 3e-6,
          .graph = 8e-6,
          .node = 2e-6,
          .walk = 8e-6,
          .record = 3e-7,
          .barrier = 1.2e-6,
          .flop = 1 / 30e12,
          .walked_flop = 1 / 20e12,
          .byte = 1 / 4e12,
          .held_byte = 1 / 10e12,
          .places = 264};
}

/// A level of a contraction [750, 300], as tiles or with held weights.
LaunchWork level(double rows) {
  return {.flops = 2 * rows * 750 * 300,
          .bytes = 4 * rows * 1050,
          .weights = 4 * 750 * 300,
          .tiles = std::max<std::int64_t>(19, std::int64_t(rows / 40) * 5),
          .barrier = true,
          .held = rows <= double(most_held_rows)};
}

std::vector<LaunchWork> levels(const std::vector<double>& rows) {
  std::vector<LaunchWork> works;
  for (const double count : rows) works.push_back(level(count));
  return works;
}

TEST(WalkCost, SmallLevelsAreWalked) {
  for (const double rows : {1.0, 10.0}) {
    const auto works = levels(std::vector<double>(20, rows));
    for (const bool replayed : {false, true})
      EXPECT_EQ(choose_segments(works, sample(), replayed), (std::vector<Segment>{{0, 20, true}}));
  }
}

TEST(WalkCost, LargeMinibatchesAreReplayed) {
  const auto works = levels(std::vector<double>(20, 20000));
  for (const bool replayed : {false, true})
    EXPECT_EQ(choose_segments(works, sample(), replayed), (std::vector<Segment>{{0, 20, false}}));
}

TEST(WalkCost, SmallLevelsAreWalkedBetweenLargeOnes) {
  std::vector<double> rows{40000, 20000, 10000};
  rows.insert(rows.end(), 30, 12);
  // Forward and backward, as in a training step.
  rows.insert(rows.end(), rows.rbegin(), rows.rend());
  const auto segments = choose_segments(levels(rows), sample(), false);
  EXPECT_EQ(segments, (std::vector<Segment>{{0, 3, false}, {3, 63, true}, {63, 66, false}}));
}

TEST(WalkCost, OneSmallLevelIsNotWorthAWalk) {
  std::vector<double> rows(3, 30000);
  rows.push_back(12);
  EXPECT_EQ(choose_segments(levels(rows), sample(), false), (std::vector<Segment>{{0, 4, false}}));
}

TEST(WalkCost, ExpensiveBarriersPreventWalks) {
  WalkCosts costs = sample();
  costs.barrier = 1e-4;
  EXPECT_EQ(choose_segments(levels(std::vector<double>(20, 1)), costs, true),
            (std::vector<Segment>{{0, 20, false}}));
  EXPECT_TRUE(choose_segments({}, costs, true).empty());
}

TEST(WalkCost, TheChoiceIsTheCheapestOfAll) {
  // Compared with all 256 choices for sequences of 8 launches.
  std::uint32_t random = 1;
  const auto draw = [&](std::uint32_t below) {
    random = random * 1664525 + 1013904223;
    return (random >> 8) % below;
  };
  const WalkCosts costs = sample();
  for (int trial = 0; trial < 50; ++trial) {
    std::vector<double> rows;
    for (int i = 0; i < 8; ++i) rows.push_back(draw(2) ? 1 + draw(30) : 1 + draw(30000));
    const auto works = levels(rows);
    const auto seconds = [&](std::uint32_t walked) {
      double total = 0;
      for (std::size_t i = 0; i < works.size(); ++i) {
        const bool here = walked >> i & 1;
        if (i == 0 || here != (walked >> (i - 1) & 1)) total += here ? costs.walk : costs.graph;
        total += here ? seconds_walked(works[i], costs) : seconds_alone(works[i], costs, true);
      }
      return total;
    };
    double least = seconds(0);
    for (std::uint32_t ways = 1; ways < 256; ++ways) least = std::min(least, seconds(ways));
    std::uint32_t chosen = 0;
    for (const Segment& segment : choose_segments(works, costs, true))
      for (std::size_t i = segment.begin; i < segment.end; ++i)
        chosen |= std::uint32_t(segment.walked) << i;
    EXPECT_NEAR(seconds(chosen), least, 1e-15);
  }
}

TEST(WalkCost, CostsGoToTextAndBack) {
  const std::string text = to_text(sample());
  EXPECT_EQ(parse_costs(text), sample());
  EXPECT_FALSE(parse_costs(""));
  EXPECT_FALSE(parse_costs(text.substr(0, text.size() / 2)));
  EXPECT_FALSE(parse_costs(text + " 1"));
  EXPECT_FALSE(parse_costs("264 0 1 1 1 1 1 1 1 1 1"));
  EXPECT_FALSE(parse_costs("264 nan 1 1 1 1 1 1 1 1 1"));
  EXPECT_FALSE(parse_costs("0" + text.substr(text.find(' '))));
}

TEST(WalkCost, CostsAreMeasuredOnceAndAgainIfTheFileIsBroken) {
  const test::TemporaryFolder temporary;
  const std::filesystem::path folder = temporary.path();
  int measured = 0;
  const auto costs = [&](std::string_view key) {
    return cached_costs(folder, key, [&] {
      ++measured;
      WalkCosts costs = sample();
      costs.places = measured;
      return costs;
    });
  };
  EXPECT_EQ(costs("one").places, 1);
  EXPECT_EQ(costs("one").places, 1);
  EXPECT_EQ(costs("another GPU").places, 2);
  const auto file = DiskCache(folder).file("one");
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 3);
  EXPECT_EQ(costs("one").places, 3);
  EXPECT_EQ(costs("one").places, 3);
  // A valid file that holds no costs.
  DiskCache(folder).store("one", "1 2 3");
  EXPECT_EQ(costs("one").places, 4);
}

}  // namespace
}  // namespace espalier::runtime
