// Outer products: weight gradients, summed over rows read by pointer.
#include <gtest/gtest.h>

#include "codegen/cpu/host_targets.h"
#include "codegen/kernel/tiling.h"
#include "tests/codegen/sample_kernels.h"

namespace espalier::codegen {
namespace {

void check_product(const OuterSample& shape) {
  check({.kernel = [&](const Target&) { return product_kernel(shape); },
         .memory = [&](const Kernel&) { return product_memory(shape); }});
}

TEST(OuterProduct, EveryRestOfRowsAndColumns) {
  for (std::int64_t m : {1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 25})
    for (std::int64_t k : {1, 3, 15, 16, 17, 33, 80})
      check_product({.m = m, .k = k, .rows = 3, .accumulate = (m + k) % 2 == 0});
}

TEST(OuterProduct, AnyNumberOfRows) {
  for (std::int64_t rows : {0, 1, 2, 30, 255, 256, 257, 600})
    for (bool accumulate : {false, true})
      check_product({.m = 7, .k = 20, .rows = rows, .gathered = true, .accumulate = accumulate});
}

TEST(OuterProduct, SeveralBlocksOfRowsAndColumns) {
  for (std::int64_t k : {1024, 1040, 1100, 2100})
    check_product({.m = 50, .k = k, .rows = 5, .gathered = true, .accumulate = true});
}

/// Few rows and many columns, as of a tensor layer: parts are of columns.
TEST(OuterProduct, PartsOfColumns) {
  for (std::int64_t k : {2048, 5120, 5000, 5121}) {
    const OuterSample shape{.m = 13, .k = k, .rows = 70, .gathered = true, .accumulate = true};
    const Target target = host_target();
    EXPECT_TRUE(outer_tile(product_kernel(shape).stages[0], target).by_columns);
    EXPECT_GE(stage_parts(product_kernel(shape), product_kernel(shape).stages[0], target), 8);
    check_product(shape);
  }
}

TEST(OuterProduct, OfTheSizeOfATreeLstm) {
  check_product({.m = 75, .k = 300, .rows = 40, .gathered = true});
}

TEST(OuterProduct, StridedLeftFactor) {
  check_product({.m = 11, .k = 35, .rows = 20, .left_stride = 3});
}

TEST(OuterProduct, BlocksCoverEachElementOnce) {
  for (const Target& target : host_targets())
    for (std::int64_t m : {1, 5, 150, 750, 5000})
      for (std::int64_t k : {1, 25, 300, 4000}) {
        const Kernel kernel = product_kernel({.m = m, .k = k});
        const OuterTile tile = outer_tile(kernel.stages[0], target);
        const std::int64_t parts = stage_parts(kernel, kernel.stages[0], target);
        EXPECT_EQ(tile.block_rows % tile.rows, 0);
        const std::int64_t columns = tile.block_tiles * tile.vectors * target.width;
        EXPECT_GE(tile.blocks * columns + tile.vectors * target.width, k);
        EXPECT_LT((tile.blocks - 1) * columns, k);
        if (tile.by_columns) {
          EXPECT_EQ(parts, tile.blocks);
          EXPECT_GE(tile.block_rows, m);
          continue;
        }
        EXPECT_GE(parts * tile.block_rows, m);
        EXPECT_LT((parts - 1) * tile.block_rows, m);
        EXPECT_LE(tile.rows * tile.vectors + tile.vectors + 1, target.registers);
      }
}

}  // namespace
}  // namespace espalier::codegen
