#include "runtime/step/pack.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/random.h"

namespace espalier::test {
namespace {

using codegen::Packing;

/// Two params of 37 × 23, the second transposed, side by side: [37 or 23 rows, k].
struct Case {
  int gates, lanes;
  bool transposed;
};

class PackRows : public testing::TestWithParam<Case> {};

/// Where codegen::Packing says that element (row, k) lies.
std::size_t place(const Packing& p, std::int64_t row, std::int64_t k) {
  const std::int64_t n = p.gate_length(), gate = row / n, j = row % n;
  return std::size_t(((j / p.lanes * p.k + k) * p.gates + gate) * p.lanes + j % p.lanes);
}

TEST_P(PackRows, EveryElementGoesWhereThePackingSays) {
  const auto [gates, lanes, transposed] = GetParam();
  const std::int32_t m = 36, k = 23, first_row = 2, first_column = 3;  // a part of a param
  const std::int32_t columns = (transposed ? m : k) + 5, rows = (transposed ? k : m) + 4;
  const Packing packing{.m = m,
                        .k = k,
                        .gates = gates,
                        .lanes = lanes,
                        .blocks = {{0, transposed, columns, first_row, first_column, 0, 0, m, k}}};
  Random random(7);
  std::vector<float> param(std::size_t(rows * columns));
  for (float& value : param) value = float(random.real(-1, 1));
  std::vector<float> expected(std::size_t(packing.elements()), -5.F);
  for (std::int64_t r = 0; r < m; ++r)
    for (std::int64_t c = 0; c < k; ++c)
      expected[place(packing, r, c)] = param[std::size_t(
          (first_row + (transposed ? c : r)) * columns + first_column + (transposed ? r : c))];
  // In pieces of any size, in any order, and those that the block does not touch.
  for (const std::int64_t piece : {1, 3, 16, 100}) {
    std::vector<float> packed(expected.size(), -5.F);
    for (std::int64_t begin = rows / piece * piece; begin >= 0; begin -= piece)
      runtime::pack_rows(packing, packing.blocks[0], param.data(), begin, begin + piece,
                         packed.data());
    EXPECT_EQ(packed, expected) << "in pieces of " << piece << " rows";
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, PackRows,
                         testing::Values(Case{1, 16, false}, Case{1, 16, true}, Case{3, 8, false},
                                         Case{3, 8, true}, Case{4, 32, false}, Case{2, 4, true}));

}  // namespace
}  // namespace espalier::test
