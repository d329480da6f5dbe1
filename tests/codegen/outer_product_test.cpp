// Outer products: weight gradients, summed over rows read by pointer.
#include <gtest/gtest.h>

#include <algorithm>

#include "codegen/tiling.h"
#include "tests/codegen/kernel_runner.h"

namespace espalier::codegen {
namespace {

using ir::Opcode;

struct Shape {
  std::int64_t m = 1, k = 1, rows = 1;
  bool gathered = false, accumulate = false;
  std::int64_t left_stride = 1;
  std::int64_t block = row_block;
};

constexpr std::int64_t state_rows = 9;

Kernel product_kernel(const Shape& shape) {
  Kernel kernel;
  KernelBuilder b(kernel);
  const BufferId gradient =
      b.buffer({.role = BufferRole::param_gradient, .row_elements = shape.m * shape.k});
  const BufferId left = b.buffer({.role = BufferRole::contribution, .row_elements = shape.m});
  const BufferId right = b.buffer({.role = BufferRole::state_field, .row_elements = shape.k});
  const BufferId rows = b.buffer({.role = BufferRole::port_values});
  const BufferId count = b.buffer({.role = BufferRole::row_count, .a = -1});

  Stage s = once_stage(b, {shape.m, shape.k});
  s.outer_product = true;
  const VarId row = b.variable();
  const ExprId i = b.var(s.variables[0]), j = b.var(s.variables[1]);
  const ExprId other = shape.gathered ? b.load_index(rows, b.var(row)) : b.var(row);
  const ExprId x = b.load(left, b.add(b.multiply(b.var(row), shape.m * shape.left_stride),
                                      b.multiply(i, shape.left_stride)));
  const ExprId y = b.load(right, b.add(b.multiply(other, shape.k), j));
  const ExprId sum = b.reduce(Reduction::fma, row, b.integer(0), b.load_index(count, b.integer(0)),
                              x, y, shape.block);
  const ExprId at = element(b, s);
  const int operands[] = {b.load(gradient, at), sum};
  s.stores = {{gradient, at, shape.accumulate ? b.emit(Opcode::add, operands, 0) : sum}};
  kernel.stages = {s};
  return kernel;
}

void check_product(const Shape& shape) {
  check({.kernel = [&](const Target&) { return product_kernel(shape); },
         .memory =
             [&](const Kernel&) {
               std::mt19937 random(2);
               Memory memory;
               memory.add_floats(shape.m * shape.k, random);
               memory.add_floats(shape.rows * shape.m * shape.left_stride, random);
               memory.add_floats(std::max(shape.rows, state_rows) * shape.k, random);
               std::vector<std::int32_t> rows(shape.rows);
               for (auto& row : rows) row = static_cast<std::int32_t>(random() % state_rows);
               memory.add_integers(rows);
               memory.add_integers(std::vector{static_cast<std::int32_t>(shape.rows)});
               return memory;
             }});
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
        const ProductTile tile = product_tile(kernel.stages[0], target);
        const std::int64_t parts = stage_parts(kernel, kernel.stages[0], target);
        EXPECT_EQ(tile.block_rows % tile.rows, 0);
        EXPECT_GE(parts * tile.block_rows, m);
        EXPECT_LT((parts - 1) * tile.block_rows, m);
        EXPECT_LE(tile.rows * tile.vectors + tile.vectors + 1, target.registers);
      }
}

}  // namespace
}  // namespace espalier::codegen
