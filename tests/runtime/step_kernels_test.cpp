// The kernels of a step, run by the interpreter, against the functions of the CPU's engine.
#include "runtime/step_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "codegen/interpreter.h"
#include "codegen/verify_kernel.h"
#include "runtime/pack.h"
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
  EXPECT_EQ(pack_params(packing), (std::vector<ir::ParamId>{0, 1}));
  run(pack_kernel(packing), {actual.data(), first.data(), second.data()});
  EXPECT_EQ(actual, expected);
}

TEST(StepKernels, SumRowsInOrder) {
  constexpr int width = 3, stride = 5;
  Floats from = random_floats(6 * stride, 3), sums(2 * width, 1.0F);
  Indices offsets{0, 2, 5}, entries{4, 0, 1, 2, 5};
  for (const bool first : {true, false}) {
    const Floats before = sums;
    run(row_sums_kernel(width, stride, first),
        {offsets.data(), entries.data(), from.data(), sums.data()}, 2);
    for (std::size_t row = 0; row < 2; ++row)
      for (std::size_t j = 0; j < width; ++j) {
        float sum = 0;
        for (auto e = std::size_t(offsets[row]); e < std::size_t(offsets[row + 1]); ++e)
          sum += from[std::size_t(entries[e]) * stride + j];
        EXPECT_EQ(sums[row * width + j], first ? sum : before[row * width + j] + sum);
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

TEST(StepKernels, MeasureTheNormAndClip) {
  Floats small = random_floats(5, 5), large = random_floats(9000, 6);
  Floats sparse = random_floats(4 * 3, 7);
  ASSERT_EQ(square_blocks(5), 1);
  ASSERT_EQ(square_blocks(9000), 3);
  Floats blocks(4), row_blocks(4), norm(1), control(2);
  run(squares_kernel({5, 9000}), {blocks.data(), small.data(), large.data()});
  run(row_squares_kernel(3), {sparse.data(), row_blocks.data()}, 4);
  Indices count{4};
  run(norm_kernel(4, 1), {norm.data(), blocks.data(), count.data(), row_blocks.data()});
  double expected = 0;
  for (const Floats* values : {&small, &large, &sparse})
    for (const float x : *values) expected += double(x) * double(x);
  EXPECT_NEAR(norm[0], expected, 9000 * 0x1p-24 * expected);

  Floats clip{1};
  run(control_kernel(), {norm.data(), clip.data(), control.data()});
  EXPECT_EQ(control, (Floats{1, 1 / std::sqrt(norm[0])}));
  clip[0] = std::numeric_limits<float>::infinity();
  run(control_kernel(), {norm.data(), clip.data(), control.data()});
  EXPECT_EQ(control, (Floats{1, 1}));
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    norm[0] = bad;
    run(control_kernel(), {norm.data(), clip.data(), control.data()});
    EXPECT_EQ(control[0], 0);
  }
}

}  // namespace
}  // namespace espalier::runtime
