// Products split into parts of their rows against the same in one piece, by the interpreter and as
// printed for a GPU.
#include "codegen/kernel/split_rows.h"

#include <gtest/gtest.h>

#include <cmath>

#include "codegen/kernel/interpreter.h"
#include "codegen/kernel/verify.h"
#include "tests/codegen/sample_kernels.h"
#include "tests/support/host_cuda.h"

namespace espalier::codegen {
namespace {

constexpr int small_part = int(row_block);

/// Memory of the kernel in one piece, and behind it room for the parts.
Memory memory_for(const OuterSample& sample, const Kernel& split) {
  Memory memory = product_memory(sample);
  for (std::size_t i = memory.buffers().size(); i < split.buffers.size(); ++i) {
    const Buffer& buffer = split.buffers[i];
    EXPECT_EQ(buffer.role, BufferRole::partial);
    const std::int64_t parts = (sample.rows + buffer.b - 1) / buffer.b;
    memory.add_floats(std::vector(std::size_t(parts * buffer.row_elements), std::nanf("")));
  }
  return memory;
}

std::int64_t rows_of(const Stage& stage, const OuterSample& sample) {
  if (stage.rows == RowDomain::once) return 1;
  EXPECT_EQ(stage.rows, RowDomain::parts);
  return (sample.rows + stage.part_rows - 1) / stage.part_rows;
}

void interpret_all(const Kernel& kernel, const Memory& memory, const OuterSample& sample) {
  for (std::size_t s = 0; s < kernel.stages.size(); ++s)
    interpret(kernel, int(s), memory.pointers().data(), 0, rows_of(kernel.stages[s], sample));
}

std::vector<OuterSample> samples() {
  std::vector<OuterSample> samples;
  for (const std::int64_t rows : {0, 1, 63, 64, 65, 127, 128, 200})
    samples.push_back(
        {.m = 7, .k = 20, .rows = rows, .gathered = true, .accumulate = rows % 2 == 1});
  for (const std::int64_t m : {1, 33, 70})
    samples.push_back({.m = m, .k = 130, .rows = 150, .accumulate = m == 33});
  samples.push_back({.m = 11, .k = 35, .rows = 300, .left_stride = 3});
  samples.push_back({.m = 300, .k = 330, .rows = 80});
  return samples;
}

TEST(SplitRows, PartsOfOneBlockGiveTheBitsOfTheWhole) {
  for (const OuterSample& sample : samples()) {
    const Kernel whole = product_kernel(sample), split = split_rows(whole, small_part);
    verify_kernel(split);
    ASSERT_EQ(split.stages.size(), 2U);
    EXPECT_FALSE(split.stages[1].outer_product);
    const Memory wanted = product_memory(sample), got = memory_for(sample, split);
    interpret_all(whole, wanted, sample);
    interpret_all(split, got, sample);
    compare(whole, got, wanted, {}, "in parts");
  }
}

TEST(SplitRows, LargerPartsAreOffByRoundingsOnly) {
  const OuterSample sample{.m = 7, .k = 20, .rows = 700};
  const Kernel whole = product_kernel(sample), split = split_rows(whole);
  const Memory wanted = product_memory(sample), got = memory_for(sample, split);
  interpret_all(whole, wanted, sample);
  interpret_all(split, got, sample);
  // Each of 700 products is at most 1, and a sum has some 64 + 11 roundings behind it.
  compare(whole, got, wanted, {.absolute = 2 * 75 * 0x1p-24 * 700}, "in parts");
}

TEST(SplitRows, PrintedOnesGiveTheBitsOfTheInterpreter) {
  test::HostKernels host;
  std::vector<Kernel> kernels;
  std::vector<int> numbers;
  for (const OuterSample& sample : samples()) {
    kernels.push_back(split_rows(product_kernel(sample), small_part));
    numbers.push_back(host.add(kernels.back()));
  }
  host.compile();
  for (std::size_t i = 0; i < kernels.size(); ++i) {
    const OuterSample sample = samples()[i];
    const Memory wanted = memory_for(sample, kernels[i]);
    interpret_all(kernels[i], wanted, sample);
    for (const unsigned grid : {1U, 2U, 7U}) {
      const Memory got = memory_for(sample, kernels[i]);
      for (std::size_t s = 0; s < kernels[i].stages.size(); ++s)
        host.run(numbers[i], int(s), got.pointers().data(), 0,
                 rows_of(kernels[i].stages[s], sample), grid);
      compare(kernels[i], got, wanted, {}, "a grid of " + std::to_string(grid));
    }
  }
}

TEST(SplitRows, LargeProductsStayWhole) {
  const Kernel kernel = product_kernel({.m = 1280, .k = 512, .rows = 3});
  const Kernel split = split_rows(kernel);
  ASSERT_EQ(split.stages.size(), 1U);
  EXPECT_TRUE(split.stages[0].outer_product);
}

TEST(SplitRows, PartsOfAllProductsAreJoined) {
  Kernel kernel = product_kernel({.m = 7, .k = 20, .rows = 3});
  kernel.stages.push_back(kernel.stages[0]);
  KernelBuilder b(kernel);
  kernel.stages[1].stores[0].buffer =
      b.buffer({.role = BufferRole::param_gradient, .a = 1, .row_elements = 140});
  kernel.stages[1].joined = true;
  const Kernel split = split_rows(kernel);
  verify_kernel(split);
  ASSERT_EQ(split.stages.size(), 4U);
  std::vector<bool> joined;
  for (const Stage& stage : split.stages) joined.push_back(stage.joined);
  EXPECT_EQ(joined, (std::vector<bool>{false, true, false, true}));
  EXPECT_EQ(print_cuda(split).stages.size(), 2U);
}

}  // namespace
}  // namespace espalier::codegen
