// The kernels of a step, run by the interpreter, against the functions of the CPU's engine.
#include "runtime/update/step_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "codegen/kernel/interpreter.h"
#include "codegen/kernel/verify.h"
#include "runtime/step/pack.h"
#include "tests/support/random.h"

namespace espalier::runtime {
namespace {

using Floats = std::vector<float>;
using Indices = std::vector<std::int32_t>;

Floats random_floats(std::size_t size, std::uint64_t seed) {
  test::Random random(seed);
  Floats values(size);
  for (float& value : values) value = float(random.real(-1, 1));
  return values;
}

/// Runs all stages; stages over rows for rows [0, count).
void run(const codegen::Kernel& kernel, std::vector<void*> buffers, std::int64_t count = 0) {
  codegen::verify_kernel(kernel);
  ASSERT_EQ(buffers.size(), kernel.buffers.size());
  for (std::size_t stage = 0; stage < kernel.stages.size(); ++stage)
    codegen::interpret(kernel, int(stage), buffers.data(), 0, count);
}

TEST(StepKernels, PackAsTheCpuDoes) {
  // Two params side by side, one of them transposed and only in part, in gates of an odd length.
  codegen::Packing packing{.m = 21, .k = 13, .gates = 3, .lanes = 4, .blocks = {}};
  packing.blocks = {{.param = 0,
                     .param_columns = 9,
                     .param_row = 2,
                     .param_column = 1,
                     .row = 0,
                     .column = 0,
                     .rows = 21,
                     .columns = 8},
                    {.param = 1,
                     .transposed = true,
                     .param_columns = 30,
                     .param_row = 1,
                     .param_column = 4,
                     .row = 0,
                     .column = 8,
                     .rows = 21,
                     .columns = 5}};
  Floats first = random_floats(23 * 9, 1), second = random_floats(7 * 30, 2);
  Floats expected(std::size_t(packing.elements())), actual(expected.size());
  pack_rows(packing, packing.blocks[0], first.data(), 0, 23, expected.data());
  pack_rows(packing, packing.blocks[1], second.data(), 0, 7, expected.data());
  EXPECT_EQ(pack_params({&packing, 1}), (std::vector<ir::ParamId>{0, 1}));
  run(pack_kernel({&packing, 1}), {actual.data(), first.data(), second.data()});
  EXPECT_EQ(actual, expected);

  // Beside another one, of the second param alone.
  codegen::Packing other{.m = 7, .k = 30, .gates = 1, .lanes = 4, .blocks = {}};
  other.blocks = {{.param = 1, .param_columns = 30, .rows = 7, .columns = 30}};
  Floats also(std::size_t(other.elements())), expected_also(also.size());
  pack_rows(other, other.blocks[0], second.data(), 0, 7, expected_also.data());
  const std::vector<codegen::Packing> both{other, packing};
  actual.assign(actual.size(), 0);
  EXPECT_EQ(pack_params(both), (std::vector<ir::ParamId>{1, 0}));
  run(pack_kernel(both), {also.data(), actual.data(), second.data(), first.data()});
  EXPECT_EQ(actual, expected);
  EXPECT_EQ(also, expected_also);
}

TEST(StepKernels, SumRowsInOrder) {
  constexpr int width = 3, stride = 5;
  Floats from = random_floats(6 * stride, 3), more = random_floats(2 * width, 8), sums(2 * width);
  Indices offsets{0, 2, 5}, entries{4, 0, 1, 2, 5}, of_more{0, 0, 2}, entries_of_more{1, 0};
  for (const bool both : {false, true}) {
    std::vector<std::int64_t> strides{stride};
    std::vector<void*> buffers{sums.data(), offsets.data(), entries.data(), from.data()};
    if (both) {
      strides.push_back(width);
      buffers.insert(buffers.end(), {of_more.data(), entries_of_more.data(), more.data()});
    }
    run(row_sums_kernel(width, strides), buffers, 2);
    for (std::size_t row = 0; row < 2; ++row)
      for (std::size_t j = 0; j < width; ++j) {
        float sum = 0, sum_of_more = 0;
        for (auto e = std::size_t(offsets[row]); e < std::size_t(offsets[row + 1]); ++e)
          sum += from[std::size_t(entries[e]) * stride + j];
        for (auto e = std::size_t(of_more[row]); e < std::size_t(of_more[row + 1]); ++e)
          sum_of_more += more[std::size_t(entries_of_more[e]) * width + j];
        EXPECT_EQ(sums[row * width + j], both ? sum + sum_of_more : sum);
      }
  }
  Floats dense = random_floats(4 * width, 4);
  const Floats before = dense;
  Indices rows{3, 1};
  run(add_rows_kernel(width), {rows.data(), sums.data(), dense.data()}, 2);
  for (std::size_t j = 0; j < width; ++j) {
    EXPECT_EQ(dense[j], before[j]);
    EXPECT_EQ(dense[9 + j], before[9 + j] + sums[j]);
    EXPECT_EQ(dense[3 + j], before[3 + j] + sums[width + j]);
  }
}

TEST(StepKernels, SeedAndGather) {
  Floats arena(10), scale{0.25F}, losses(3);
  Indices rows{7, 2, 4}, places{0, 2, 1};
  run(seed_kernel(1), {scale.data(), rows.data(), arena.data()}, 3);
  EXPECT_EQ(arena, (Floats{0, 0, 0.25F, 0, 0.25F, 0, 0, 0.25F, 0, 0}));
  std::iota(arena.begin(), arena.end(), 0.0F);
  run(gather_kernel(1), {places.data(), rows.data(), arena.data(), losses.data()}, 3);
  EXPECT_EQ(losses, (Floats{7, 4, 2}));
}

TEST(StepKernels, BringInputsToTheirRows) {
  Floats from{1, 2, 3, 4, 5, 6}, arena(12);
  run(input_kernel(3, 4), {from.data(), arena.data() + 4}, 2);
  EXPECT_EQ(arena, (Floats{0, 0, 0, 0, 1, 2, 3, 0, 4, 5, 6, 0}));
}

TEST(StepKernels, MeasureTheNormAndClip) {
  Floats small = random_floats(5, 5), large = random_floats(9000, 6);
  Floats sparse = random_floats(4 * 3, 7);
  ASSERT_EQ(square_blocks(5), 1);
  ASSERT_EQ(square_blocks(9000), 3);
  Floats blocks(4), row_blocks(4), norm(1);
  run(squares_kernel(std::vector<std::int64_t>{5, 9000}, 3),
      {sparse.data(), row_blocks.data(), blocks.data(), small.data(), large.data()}, 4);
  Indices count{4};
  run(norm_kernel(4, 1), {norm.data(), blocks.data(), count.data(), row_blocks.data()});
  double expected = 0;
  for (const Floats* values : {&small, &large, &sparse})
    for (const float x : *values) expected += double(x) * double(x);
  // Roundings: of a square, of the sum of a block, of the sum of all blocks, however many.
  EXPECT_NEAR(norm[0], expected, 3 * 0x1p-24 * expected);
}

TEST(StepKernels, TheNormIsAsCloseForManyNumbers) {
  constexpr std::int64_t size = 400'000;
  Floats values = random_floats(size, 13), norm(1);
  for (float& x : values) x = x * 0.01F + 1;  // of one size: roundings of sums add up
  Floats blocks(std::size_t(square_blocks(size)));
  run(squares_kernel(std::vector{size}, 0), {blocks.data(), values.data()});
  run(norm_kernel(square_blocks(size), 0), {norm.data(), blocks.data()});
  double expected = 0;
  for (const float x : values) expected += double(x) * double(x);
  EXPECT_NEAR(norm[0], expected, 3 * 0x1p-24 * expected);
}

/// value - rate · scaled gradient; sums up the gradients too where asked to.
struct Plain final : UpdateExpression {
  int kept(ir::ParamId param) const override { return param; }
  int rates(ir::ParamId) const override { return 1; }
  void next_rates(ir::ParamId, std::span<float>) const override {}
  Numbers update(ir::ParamId param, const Numbers& old, ir::Scalar gradient, ir::Scalar scale,
                 std::span<const ir::Scalar> rates) const override {
    Numbers fresh{.value = old.value - rates[0] * (gradient * scale), .kept = {}};
    if (param == 1) fresh.kept[0] = old.kept[0] + gradient * scale;
    return fresh;
  }
  double clip_norm() const override { return 0; }
  std::span<float> kept_values(ir::ParamId, int) override { return {}; }
  void keep_at(std::shared_ptr<KeptElsewhere>) override {}
  const KeptElsewhere* kept_at() const override { return nullptr; }
};

TEST(StepKernels, UpdateAllParamsUnlessTheNormIsNotFinite) {
  constexpr int most = UpdateExpression::most_rates;
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<Updated> params{{0, 12, 3}, {1, 5, 0}};
  const codegen::Kernel kernel = update_kernel(Plain(), params);
  EXPECT_EQ(kernel.stages.size(), 2U);
  EXPECT_TRUE(kernel.stages[1].joined);
  for (const float square : {4.0F, infinity, std::nanf("")})
    for (const float most_norm : {1.0F, infinity}) {
      Floats rows_values = random_floats(12, 9), values = random_floats(5, 10), kept(5, 1.0F);
      Floats sums = random_floats(6, 11), gradient = random_floats(5, 12), rates(2 * most);
      rates[0] = 0.5F;
      rates[most] = 0.25F;
      Indices rows{3, 1};
      Floats norm{square}, clip{most_norm};
      const Floats before_rows = rows_values, before = values;
      run(kernel,
          {norm.data(), clip.data(), rates.data(), rows_values.data(), sums.data(), rows.data(),
           values.data(), gradient.data(), kept.data()},
          2);
      const bool finite = square == 4.0F;
      const float scale = most_norm == 1.0F ? 0.5F : 1.0F;
      Floats expected_rows = before_rows, expected = before, expected_kept(5, 1.0F);
      for (std::size_t j = 0; j < 3 && finite; ++j) {
        expected_rows[9 + j] -= 0.5F * (sums[j] * scale);
        expected_rows[3 + j] -= 0.5F * (sums[3 + j] * scale);
      }
      for (std::size_t j = 0; j < 5 && finite; ++j) {
        expected[j] -= 0.25F * (gradient[j] * scale);
        expected_kept[j] += gradient[j] * scale;
      }
      EXPECT_EQ(rows_values, expected_rows);
      EXPECT_EQ(values, expected);
      EXPECT_EQ(kept, expected_kept);
    }
}

TEST(StepKernels, ClearSeveral) {
  Floats one(3, 7), other(4, 7);
  run(clear_kernel(std::vector<std::int64_t>{2, 4}), {one.data(), other.data()});
  EXPECT_EQ(one, (Floats{0, 0, 7}));
  EXPECT_EQ(other, (Floats{0, 0, 0, 0}));
}

}  // namespace
}  // namespace espalier::runtime
