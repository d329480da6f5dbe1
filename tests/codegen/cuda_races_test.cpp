// The stand-in finds races in any order of threads and blocks: all printed barriers are needed, and
// no others.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "codegen/cuda/walker.h"
#include "tests/codegen/sample_kernels.h"
#include "tests/support/host_cuda.h"

namespace espalier::codegen {
namespace {

/// The sum of each of n columns over all rows.
Kernel column_sums(std::int64_t n) {
  Kernel kernel;
  KernelBuilder b(kernel);
  const BufferId to = b.buffer({.role = BufferRole::param_gradient, .row_elements = n});
  const BufferId x = b.buffer({.role = BufferRole::contribution, .row_elements = n});
  const BufferId count = b.buffer({.role = BufferRole::row_count, .a = ir::per_instance});
  Stage stage;
  stage.rows = RowDomain::once;
  stage.extents = {n};
  stage.variables = {b.variable()};
  const VarId row = b.variable();
  const ExprId j = b.var(stage.variables[0]);
  stage.stores = {{to, j,
                   b.reduce(Reduction::sum, row, b.integer(0), b.load_index(count, b.integer(0)),
                            b.load(x, b.add(b.multiply(b.var(row), n), j)))}};
  kernel.stages = {stage};
  return kernel;
}

/// A walk over tiles of all kinds, several per block, with and without barriers between them.
class Samples {
 public:
  Samples() {
    const Target target = cuda_target("sm_80");
    for (const std::int64_t rows : {17, 2000}) {
      const ContractionSample shape{.n = 40, .k = 37, .gates = 2, .terms = 2, .rows = rows};
      Kernel kernel = contraction_kernel(target, shape);
      Memory memory = contraction_memory(kernel, shape);
      add(std::move(kernel), std::move(memory), rows);
    }
    const OuterSample product{.m = 70, .k = 80, .rows = 70, .gathered = true};
    add(product_kernel(product), product_memory(product), 1);
    std::mt19937 random(1);
    Memory memory;
    memory.add_floats(20, random);
    memory.add_floats(20 * 100, random);
    memory.add_integers(std::vector<std::int32_t>{100});
    add(column_sums(20), std::move(memory), 1);

    std::vector<const Kernel*> all;
    for (const Kernel& kernel : kernels_) all.push_back(&kernel);
    text_ = print_walker(all);
  }

  const std::string& source() const { return text_.source; }

  /// Records of each kernel twice, the second time after a barrier; contractions of few rows also
  /// with held weights.
  void run(const std::string& source) const {
    const test::HostModule module(source);
    const std::int64_t work =
        std::ranges::max_element(text_.stages, {}, &CudaStage::shared_bytes)->shared_bytes;
    const std::int64_t held_at = walk_bytes(work, text_.most_buffers);
    const HeldTile tile = held_tile(kernels_[0], kernels_[0].stages[0]);
    for (const unsigned grid : {1U, 2U}) {
      const std::int64_t width = (tile.length + grid - 1) / grid;
      const std::vector<Memory> memories = memories_;
      std::vector<std::vector<void*>> pointers;
      for (const Memory& memory : memories) pointers.push_back(memory.pointers());
      std::vector<WalkRecord> records;
      for (const int time : {0, 1, 2, 3})
        for (std::size_t k = 0; k < (time < 2 ? kernels_.size() : 1); ++k) {
          WalkRecord record;
          record.buffers = pointers[k].data();
          record.stage = text_.first_stage[k];
          record.row_end = rows_[k];
          record.buffer_count = std::int32_t(kernels_[k].buffers.size());
          if (time > 0) record.flags |= WalkRecord::barrier;
          if (time == 2) record.flags |= WalkRecord::fill;
          if (time >= 2) {
            record.held_at = std::int32_t(held_at / 4);
            record.held_width = std::int32_t(width);
          }
          records.push_back(record);
        }
      Walk walk{.records = records.data(),
                .count = std::int32_t(records.size()),
                .work_bytes = std::int32_t(work),
                .most_buffers = std::int32_t(text_.most_buffers)};
      void* argument = &walk;
      void* args[] = {&argument};
      module.launch(module.symbol(walk_symbol), grid, 256,
                    std::size_t(held_at + tile.slice_bytes(width)), args, true);
    }
  }

 private:
  void add(Kernel kernel, Memory memory, std::int64_t rows) {
    kernels_.push_back(std::move(kernel));
    memories_.push_back(std::move(memory));
    rows_.push_back(rows);
  }

  std::vector<Kernel> kernels_;
  std::vector<Memory> memories_;
  std::vector<std::int64_t> rows_;
  WalkerText text_;
};

class CudaRacesDeathTest : public testing::Test {
 protected:
  void SetUp() override { ::setenv("ESPALIER_FAKE_CUDA_RACES", "1", 1); }
  void TearDown() override { ::unsetenv("ESPALIER_FAKE_CUDA_RACES"); }
};

/// Removes each barrier of a part of the text, one at a time, and expects a race. Exceptions: the
/// last one of each kind of tile, which only joined stages need, and one that the host's compiler
/// makes unnecessary.
void expect_needed(const Samples& samples, std::size_t begin, std::size_t end, int least) {
  const std::string barrier = "__syncthreads()", &source = samples.source();
  int needed = 0;
  for (std::size_t at = source.find(barrier, begin); at < end; at = source.find(barrier, at + 1)) {
    const std::string_view next = std::string_view(source).substr(at + barrier.size() + 2);
    if (next.starts_with("  }\n}") || next.starts_with("  return x;")) continue;
    SCOPED_TRACE(source.substr(at - 200, 300));
    std::string without = source;
    without.replace(at, barrier.size(), "(void)0");
    // Dies of a race, or of pointers that were not written.
    EXPECT_DEATH(samples.run(without), "");
    ++needed;
  }
  EXPECT_GE(needed, least);
}

constexpr std::string_view walk_begins = "// A walk through records";

TEST_F(CudaRacesDeathTest, BarriersOfTilesAreNeededAndNoOthers) {
  const Samples samples;
  samples.run(samples.source());
  expect_needed(samples, 0, samples.source().find(walk_begins), 7);
}

TEST_F(CudaRacesDeathTest, BarriersOfWalksAreNeeded) {
  const Samples samples;
  expect_needed(samples, samples.source().find(walk_begins), samples.source().size(), 7);
}

}  // namespace
}  // namespace espalier::codegen
