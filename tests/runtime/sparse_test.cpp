// Gradients by rows on the host: sums in the order of arrival, carried over minibatches, and how
// much they will grow.
#include "runtime/cpu/sparse.h"

#include <gtest/gtest.h>

#include <vector>

namespace espalier::runtime {
namespace {

using Rows = std::vector<std::int32_t>;

/// What was added for rows of width 2, `stride` 3 apart, summed.
void sum(SparseGradient& sparse) {
  sparse.sort(2);
  sparse.sum(0, sparse.rows().size());
}

void expect(const SparseGradient& sparse, const Rows& rows, const std::vector<float>& sums) {
  EXPECT_EQ(Rows(sparse.rows().begin(), sparse.rows().end()), rows);
  EXPECT_EQ(std::vector<float>(sparse.sums().begin(), sparse.sums().end()), sums);
}

TEST(SparseGradient, SumsRowsInTheOrderOfArrival) {
  MemoryCounter counter;
  SparseGradient sparse(counter);
  const Rows indices{7, 2, 7};
  const std::vector<float> rows{1, 2, -1, 10, 20, -1, 0x1p24F, 4, -1};
  sparse.add(indices, rows.data(), 3);
  const std::vector<float> more{1, 1};
  sparse.add(Rows{7}, more.data(), 2);
  sum(sparse);
  // (1 + 2^24) + 1 is 2^24 in single precision; in another order it is not.
  expect(sparse, {2, 7}, {10, 20, 0x1p24F, 7});
  sparse.clear();
  sum(sparse);
  expect(sparse, {}, {});
}

TEST(SparseGradient, CarriesSumsOver) {
  MemoryCounter counter;
  SparseGradient sparse(counter);
  const std::vector<float> rows{1, 2, 3, 4};
  sparse.add(Rows{5, 9}, rows.data(), 2);
  sum(sparse);
  sparse.carry(2);
  sparse.add(Rows{9, 0}, rows.data(), 2);
  sum(sparse);
  expect(sparse, {0, 5, 9}, {3, 4, 1, 2, 4, 6});
}

TEST(SparseGradient, ForecastsItsGrowth) {
  MemoryCounter counter;
  SparseGradient sparse(counter);
  const auto held = [&] { return std::int64_t(sparse.bytes()) + counter.bytes; };
  const std::vector<float> rows(200, 1.F);
  for (const bool carries : {false, true, true}) {
    const std::size_t added = carries ? 60 : 40;
    Rows indices;
    for (std::size_t i = 0; i < added; ++i) indices.push_back(std::int32_t(100 * carries + i));
    const std::int64_t expected =
        held() + std::int64_t(sparse.growth(indices.size(), indices.size(), 2, carries));
    carries ? sparse.carry(2) : sparse.clear();
    sparse.add(indices, rows.data(), 2);
    sum(sparse);
    EXPECT_LE(held(), expected);
    // Rows that were there before count twice.
    EXPECT_GE(held(), expected - 60 * 40);
  }
}

}  // namespace
}  // namespace espalier::runtime
