// Persistent kernels, run on this machine's processor with all blocks at the same time, against the
// interpreter: stages with and without held weights, and the effect of a missing barrier.
#include <gtest/gtest.h>

#include <algorithm>

#include "codegen/cuda/walker.h"
#include "codegen/kernel/interpreter.h"
#include "codegen/kernel/split_rows.h"
#include "tests/codegen/sample_kernels.h"
#include "tests/support/host_cuda.h"

namespace espalier::codegen {
namespace {

std::int64_t rows_of(const Stage& stage, std::int64_t rows) {
  if (stage.rows == RowDomain::parts) return (rows + stage.part_rows - 1) / stage.part_rows;
  return stage.rows == RowDomain::once ? 1 : rows;
}

/// A persistent kernel of several kernels, and the memory of each of them.
class Walker {
 public:
  explicit Walker(std::vector<Kernel> kernels) : kernels_(std::move(kernels)) {
    std::vector<const Kernel*> all;
    for (const Kernel& kernel : kernels_) all.push_back(&kernel);
    text_ = print_walker(all);
    module_ = std::make_unique<test::HostModule>(text_.source);
  }

  const Kernel& kernel(int k) const { return kernels_[std::size_t(k)]; }
  std::int64_t most_stage_bytes() const {
    return std::ranges::max_element(text_.stages, {}, &CudaStage::shared_bytes)->shared_bytes;
  }
  /// The record of a stage and the stages joined to it.
  WalkRecord record(int k, int number, void* const* buffers, std::int64_t rows) const {
    WalkRecord record;
    record.buffers = buffers;
    record.stage = text_.first_stage[std::size_t(k)] + number;
    const int first = text_.stages[std::size_t(record.stage)].first;
    record.row_end = rows_of(kernel(k).stages[std::size_t(first)], rows);
    record.buffer_count = std::int32_t(kernel(k).buffers.size());
    return record;
  }
  /// Records of all stages of a kernel, in order.
  std::vector<WalkRecord> records(int k, void* const* buffers, std::int64_t rows) const {
    std::vector<WalkRecord> records;
    for (std::size_t stages = 0; stages < kernel(k).stages.size();) {
      records.push_back(record(k, int(records.size()), buffers, rows));
      records.back().flags = WalkRecord::barrier;
      stages += text_.stages[std::size_t(records.back().stage)].count();
    }
    return records;
  }
  void run(const std::vector<WalkRecord>& records, unsigned grid, std::int64_t work_bytes,
           std::int64_t held_bytes = 0, std::uint32_t arrived = 0) const {
    Walk walk{.records = records.data(),
              .count = std::int32_t(records.size()),
              .arrived = arrived,
              .work_bytes = std::int32_t(work_bytes),
              .most_buffers = std::int32_t(text_.most_buffers)};
    void* argument = &walk;
    void* args[] = {&argument};
    const std::int64_t bytes = walk_bytes(work_bytes, text_.most_buffers) + held_bytes;
    module_->launch(module_->symbol(walk_symbol), grid, 256, std::size_t(bytes), args, true);
  }
  std::int64_t held_begin(std::int64_t work_bytes) const {
    return walk_bytes(work_bytes, text_.most_buffers);
  }

 private:
  std::vector<Kernel> kernels_;
  WalkerText text_;
  std::unique_ptr<test::HostModule> module_;
};

Memory interpreted(const Kernel& kernel, const Memory& initial, std::int64_t rows) {
  Memory result = initial;
  for (std::size_t s = 0; s < kernel.stages.size(); ++s)
    interpret(kernel, int(s), result.pointers().data(), 0, rows_of(kernel.stages[s], rows));
  return result;
}

/// Sums over parts of the rows; then the sums of these, joined with a stage that counts floats up.
Kernel joined_kernel(const OuterSample& product) {
  Kernel kernel = product_kernel(product);
  KernelBuilder b(kernel);
  Stage count;
  count.rows = RowDomain::once;
  count.extents = {product.k};
  count.variables = {b.variable()};
  count.joined = true;
  const BufferId to =
      b.buffer({.role = BufferRole::param_gradient, .a = 7, .row_elements = product.k});
  const ExprId at = b.var(count.variables[0]);
  count.stores = {{to, at, b.to_float(at)}};
  kernel.stages.push_back(std::move(count));
  return split_rows(kernel, row_block);
}
Memory joined_memory(const OuterSample& product) {
  std::mt19937 random(2);
  Memory memory = product_memory(product);
  memory.add_floats(product.k, random);
  memory.add_floats((product.rows + row_block - 1) / row_block * product.m * product.k, random);
  return memory;
}

TEST(CudaPersistent, StagesOfManyKernelsGiveTheBitsOfTheInterpreter) {
  std::vector<Kernel> kernels;
  std::vector<Memory> memories;
  std::vector<std::int64_t> rows;
  const auto add = [&](Kernel kernel, Memory memory, std::int64_t count) {
    kernels.push_back(std::move(kernel));
    memories.push_back(std::move(memory));
    rows.push_back(count);
  };
  for (unsigned seed = 0; seed < 20; ++seed)
    add(random_kernel(seed), random_kernel_memory(seed), random_kernel_rows);
  for (const std::int64_t count : {1, 13, 70}) {
    const ContractionSample shape{.n = 40, .k = 37, .gates = 3, .terms = 2, .rows = count};
    Kernel kernel = contraction_kernel(cuda_target("sm_80"), shape);
    Memory memory = contraction_memory(kernel, shape);
    add(std::move(kernel), std::move(memory), count);
  }
  const OuterSample product{.m = 70, .k = 150, .rows = 33, .gathered = true};
  add(product_kernel(product), product_memory(product), 1);
  for (const std::int64_t count : {1, 64, 150}) {
    const OuterSample sample{.m = 70, .k = 150, .rows = count, .accumulate = true};
    add(joined_kernel(sample), joined_memory(sample), count);
    ASSERT_EQ(kernels.back().stages.size(), 3U);
    EXPECT_TRUE(kernels.back().stages[2].joined);
  }
  const Walker walker(kernels);
  for (const unsigned grid : {1U, 2U, 5U}) {
    std::vector<Memory> got = memories;
    std::vector<std::vector<void*>> pointers;
    for (const Memory& memory : got) pointers.push_back(memory.pointers());
    std::vector<WalkRecord> records;
    for (std::size_t k = 0; k < kernels.size(); ++k) {
      // Kernels without barriers between them: their stages begin at different blocks.
      const auto all = walker.records(int(k), pointers[k].data(), rows[k]);
      records.insert(records.end(), all.begin(), all.end());
      for (WalkRecord& record : records) record.first_block = std::int32_t(k % grid);
    }
    walker.run(records, grid, walker.most_stage_bytes());
    for (std::size_t k = 0; k < kernels.size(); ++k)
      compare(kernels[k], got[k], interpreted(kernels[k], memories[k], rows[k]), {},
              "kernel " + std::to_string(k) + ", a grid of " + std::to_string(grid));
  }
}

/// y[row] = row + 1, then z[row] = y[last row - row]: a block reads what another block wrote.
Kernel crossing_kernel(std::int64_t rows) {
  Kernel kernel;
  KernelBuilder b(kernel);
  const BufferId y = b.buffer({.role = BufferRole::scratch, .a = 0});
  const BufferId z = b.buffer({.role = BufferRole::scratch, .a = 1});
  const auto stage = [&] {
    Stage made;
    made.row = b.variable();
    made.extents = {256};
    made.variables = {b.variable()};
    return made;
  };
  Stage write = stage(), read = stage();
  const auto at = [&](const Stage& s, ExprId row) {
    return b.add(b.multiply(row, 256), b.var(s.variables[0]));
  };
  write.stores = {
      {y, at(write, b.var(write.row)), b.to_float(b.add(b.var(write.row), b.integer(1)))}};
  const ExprId other = b.add(b.integer(rows - 1), b.multiply(b.var(read.row), -1));
  read.stores = {{z, at(read, b.var(read.row)), b.load(y, at(read, other))}};
  kernel.stages = {write, read};
  return kernel;
}

TEST(CudaPersistent, AMissingBarrierGivesAWrongResult) {
  constexpr std::int64_t rows = 4;
  const Walker walker({crossing_kernel(rows)});
  std::mt19937 random(1);
  Memory initial;
  for (int i = 0; i < 2; ++i) initial.add_floats(rows * 256, random);
  const Memory wanted = interpreted(walker.kernel(0), initial, rows);
  for (const unsigned grid : {2U, 3U, 4U})
    for (const bool barrier : {false, true}) {
      const Memory got = initial;
      const auto pointers = got.pointers();
      auto records = walker.records(0, pointers.data(), rows);
      if (!barrier) records[1].flags = 0;
      walker.run(records, grid, walker.most_stage_bytes());
      EXPECT_EQ(std::ranges::equal(got.floats(1), wanted.floats(1)), barrier) << grid;
    }
}

TEST(CudaPersistent, BlocksKeepTheirShareOfTheRows) {
  // Random kernels whose stages work on the same rows, without any barrier.
  std::vector<Kernel> kernels;
  std::vector<unsigned> seeds;
  for (unsigned seed = 0; seed < 20; ++seed) {
    Kernel kernel = random_kernel(seed);
    if (kernel.stages[0].rows != RowDomain::instances) continue;
    kernel.stages.resize(1);
    kernels.push_back(std::move(kernel));
    seeds.push_back(seed);
  }
  ASSERT_GT(kernels.size(), 3U);
  const Walker walker(kernels);
  for (const unsigned grid : {1U, 2U, 3U, 7U})
    for (std::size_t k = 0; k < kernels.size(); ++k) {
      const Memory initial = random_kernel_memory(seeds[k]), got = initial;
      const auto pointers = got.pointers();
      WalkRecord record = walker.record(int(k), 0, pointers.data(), random_kernel_rows);
      record.flags = WalkRecord::share;
      walker.run({record, record}, grid, walker.most_stage_bytes());
      const Memory once = interpreted(kernels[k], initial, random_kernel_rows);
      compare(kernels[k], got, interpreted(kernels[k], once, random_kernel_rows), {},
              "kernel " + std::to_string(k) + ", a grid of " + std::to_string(grid));
    }
}

TEST(CudaPersistentDeathTest, BlocksThatWaitInVainAreFound) {
  const Walker walker({crossing_kernel(4)});
  std::mt19937 random(1);
  Memory memory;
  for (int i = 0; i < 2; ++i) memory.add_floats(4 * 256, random);
  const auto pointers = memory.pointers();
  const auto records = walker.records(0, pointers.data(), 4);
  // As if the grid had one more block.
  EXPECT_DEATH(walker.run(records, 2, walker.most_stage_bytes(), 0, std::uint32_t(-1)),
               "waits forever");
}

TEST(CudaPersistent, HeldWeightsGiveTheBitsOfTheInterpreter) {
  std::vector<ContractionSample> shapes;
  for (const std::int64_t rows : {1, 2, 15, 16, 17, 40})
    shapes.push_back({.n = 40, .k = 7, .gates = 2, .rows = rows});
  for (int gates = 1; gates <= 5; ++gates)
    for (const std::int64_t n : {1, 5, 16, 50})
      shapes.push_back({.n = n, .k = 20, .gates = gates, .rows = 3});
  for (const std::int64_t k : {1, 2, 3, 4, 5, 63, 64, 65, 200})
    shapes.push_back({.n = 33, .k = k, .gates = 2, .rows = 9});
  for (int terms = 1; terms <= 4; ++terms)
    shapes.push_back({.n = 21, .k = 31, .gates = 2, .terms = terms, .rows = 17, .gathered = true});
  shapes.push_back({.n = 21, .k = 31, .terms = 2, .rows = 23, .gathered = true, .children = true});
  shapes.push_back({.n = 600, .k = 19, .gates = 1, .rows = 5});  // more columns than threads

  std::vector<Kernel> kernels;
  for (const ContractionSample& shape : shapes)
    kernels.push_back(contraction_kernel(cuda_target("sm_80"), shape));
  const Walker walker(kernels);
  for (std::size_t k = 0; k < kernels.size(); ++k) {
    const Stage& stage = kernels[k].stages[0];
    const HeldTile tile = held_tile(kernels[k], stage);
    const Memory initial = contraction_memory(kernels[k], shapes[k]);
    Memory wanted = initial;
    // Twice: the second time, the kernel adds to the results of the first.
    for (int time = 0; time < 2; ++time) wanted = interpreted(kernels[k], wanted, shapes[k].rows);
    for (const unsigned grid : {1U, 2U, 7U}) {
      const std::int64_t width = (tile.length + grid - 1) / grid;
      const std::int64_t work = std::max(walker.most_stage_bytes(), tile.work_bytes(width));
      const Memory got = initial;
      const auto pointers = got.pointers();
      std::vector<WalkRecord> records;
      for (int time = 0; time < 2; ++time) {
        ASSERT_EQ(kernels[k].stages.size(), 1U);
        WalkRecord record = walker.record(int(k), 0, pointers.data(), shapes[k].rows);
        record.flags = WalkRecord::barrier | (time == 0 ? WalkRecord::fill : 0);
        record.first_block = std::int32_t(k % grid);
        record.held_at = std::int32_t(walker.held_begin(work) / 4);
        record.held_width = std::int32_t(width);
        records.push_back(record);
      }
      walker.run(records, grid, work, tile.slice_bytes(width));
      compare(kernels[k], got, wanted, {},
              "kernel " + std::to_string(k) + ", a grid of " + std::to_string(grid));
      if (HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace espalier::codegen
