// Emission of outer products: weight gradients, previous + Σ over rows of left[i] · right[j]. A
// register tile sums a block of the rows and adds it to sums on the stack, which wait while the
// next columns or block of rows is read, so that a block of both factors is read from the cache.
// Each element is summed in the order of the rows, block by block, as the reduction says.
#include <llvm/IR/Function.h>
#include <llvm/IR/Intrinsics.h>

#include <algorithm>

#include "base/error.h"
#include "codegen/cpu/emitter.h"
#include "codegen/kernel/tiling.h"

namespace espalier::codegen {

struct Emitter::Product {
  OuterProduct parts;
  OuterTile tile;
  std::int64_t left_stride;
  VarId i, j, row;
  std::int64_t columns;  ///< of the sums on the stack
  Value* partial;        ///< [tile.block_rows, columns]
  // of the block at hand
  Value* first_row = nullptr;      ///< i of these sums' first row
  Value* first_column = nullptr;   ///< j of their first column
  Value* whole_rows = nullptr;     ///< in whole tiles
  Value* last_rows = nullptr;      ///< whether a rest of the rows follows
  Value* whole_columns = nullptr;  ///< in whole tiles
  Value* last_columns = nullptr;   ///< whether a rest of the columns follows
  Value* depth_begin = nullptr;
  Value* depth_end = nullptr;
};

/// Adds a block of the reduction to a register tile of the sums, at `row` and `column`.
void Emitter::outer_product_tile(const Product& product, Value* row, int rows, Value* column,
                                 int lanes) {
  const int width = target_.width, vectors = (lanes + width - 1) / width;
  llvm::Type* type = floats(width);
  const auto mask = [&](int v) {
    const int left = lanes - v * width;
    return left >= width ? nullptr : first_lanes(i64(left), width);
  };
  Value* corner =
      float_at(product.partial, b_.CreateAdd(b_.CreateMul(row, i64(product.columns)), column));
  const auto place = [&](int r, int v) {
    return float_at(corner, i64(r * product.columns + std::int64_t{v} * width));
  };
  const llvm::Align align(4 * width);
  std::vector<Value*> sums(static_cast<std::size_t>(rows) * vectors,
                           identity(Reduction::fma, width));
  bind(product.i, b_.CreateAdd(product.first_row, row));
  bind(product.j, b_.CreateAdd(product.first_column, column));
  const Expr &left = kernel_[product.parts.left], &right = kernel_[product.parts.right];
  hoist({left.operands[0], right.operands[0]});
  const auto step = [&](Value* index, std::span<Value* const> accumulators) {
    bind(product.row, index);
    Value* x = element_address(left.buffer, b_.getFloatTy(), value(left.operands[0]));
    Value* y = element_address(right.buffer, b_.getFloatTy(), value(right.operands[0]));
    // What later tiles read of this row: the hardware foresees no lines a whole row apart.
    constexpr int line_floats = 16, read = 0, nearest = 3, data = 1;
    b_.CreateIntrinsic(llvm::Intrinsic::prefetch, {b_.getPtrTy()},
                       {float_at(x, i64(line_floats)), b_.getInt32(read), b_.getInt32(nearest),
                        b_.getInt32(data)});
    std::vector<Value*> scalars, loaded;
    for (int r = 0; r < rows; ++r)
      scalars.push_back(b_.CreateLoad(b_.getFloatTy(), float_at(x, i64(r * product.left_stride))));
    for (int v = 0; v < vectors; ++v) {
      Value* from = float_at(y, i64(std::int64_t{v} * width));
      loaded.push_back(load_vector(type, from, mask(v)));
    }
    return tile_step(scalars, loaded, accumulators);
  };
  sums = loop(product.depth_begin, product.depth_end, 1, sums, step);
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < vectors; ++v)
      b_.CreateAlignedStore(b_.CreateFAdd(b_.CreateAlignedLoad(type, place(r, v), align),
                                          sums[static_cast<std::size_t>(r) * vectors + v]),
                            place(r, v), align);
}

/// The tiles of the block's rows at `column`: they share the columns, which stay in the nearest
/// cache.
void Emitter::product_rows(const Product& product, Value* column, int lanes) {
  const auto rest = static_cast<int>(stage_.extents[0] % product.tile.rows);
  loop(i64(0), product.whole_rows, product.tile.rows,
       [&](Value* row) { outer_product_tile(product, row, product.tile.rows, column, lanes); });
  if (rest == 0) return;
  branch(product.last_rows,
         [&] { outer_product_tile(product, product.whole_rows, rest, column, lanes); });
}

/// Stores the block: the sums are where the stage's expressions say.
void Emitter::product_epilogue(const Product& product, Value* rows) {
  const int width = target_.width;
  Value* begin = b_.CreateUDiv(product.first_column, i64(width));
  Value* whole = b_.CreateUDiv(product.whole_columns, i64(width));
  Value* end = b_.CreateSelect(product.last_columns, i64((stage_.extents[1] + width - 1) / width),
                               b_.CreateAdd(begin, whole));
  loop(i64(0), rows, 1, [&](Value* r) {
    bind(product.i, b_.CreateAdd(product.first_row, r));
    Value* sums = float_at(product.partial, b_.CreateMul(r, i64(product.columns)));
    chunks(width, begin, end, [&] {
      Value* column = b_.CreateSub(variables_[product.j], product.first_column);
      remember(values_, product.parts.sum,
               b_.CreateAlignedLoad(floats(width), float_at(sums, column), llvm::Align(4 * width)));
      stores();
    });
  });
}

void Emitter::emit_outer_product() {
  const auto parts = match_outer_product(kernel_, stage_, analysis_);
  internal_check(parts.has_value(), "kernel '{}': an outer product of another form", kernel_.name);
  const std::int64_t m = stage_.extents[0], k = stage_.extents[1];
  const OuterTile tile = codegen::outer_tile(stage_, target_);
  const std::int64_t tile_lanes = std::int64_t{tile.vectors} * target_.width;
  const std::int64_t block_columns = tile.block_tiles * tile_lanes;
  const std::int64_t whole = k / tile_lanes * tile_lanes;
  const std::int64_t columns = std::min(block_columns, whole) + tile_lanes;

  const Expr& sum = kernel_[parts->sum];
  Product product{.parts = *parts,
                  .tile = tile,
                  .left_stride = *strides(kernel_, analysis_,
                                          stage_.variables[0])[kernel_[parts->left].operands[0]],
                  .i = stage_.variables[0],
                  .j = stage_.variables[1],
                  .row = static_cast<VarId>(sum.integer),
                  .columns = columns,
                  .partial = stack_floats(tile.block_rows * columns)};
  Value *depth_begin = value(sum.operands[0]), *depth_end = value(sum.operands[1]);

  loop(function_->getArg(3), function_->getArg(4), 1, [&](Value* part) {
    product.first_row = tile.by_columns ? i64(0) : b_.CreateMul(part, i64(tile.block_rows));
    Value* rows = least(b_.CreateSub(i64(m), product.first_row), i64(tile.block_rows));
    Value* rest_rows = b_.CreateURem(rows, i64(tile.rows));
    product.whole_rows = b_.CreateSub(rows, rest_rows);
    product.last_rows = b_.CreateICmpNE(rest_rows, i64(0));
    Value* first_block = tile.by_columns ? part : i64(0);
    Value* last_block = tile.by_columns ? b_.CreateAdd(part, i64(1)) : i64(tile.blocks);
    loop(first_block, last_block, 1, [&](Value* block) {
      product.first_column = b_.CreateMul(block, i64(block_columns));
      product.whole_columns =
          least(b_.CreateSub(i64(whole), product.first_column), i64(block_columns));
      product.last_columns = b_.CreateICmpEQ(block, i64(tile.blocks - 1));
      loop(i64(0), i64(tile.block_rows * columns), target_.width, [&](Value* index) {
        b_.CreateAlignedStore(llvm::Constant::getNullValue(floats(target_.width)),
                              float_at(product.partial, index), llvm::Align(4 * target_.width));
      });
      loop(depth_begin, depth_end, sum.block, [&](Value* begin) {
        product.depth_begin = begin;
        product.depth_end = least(b_.CreateAdd(begin, i64(sum.block)), depth_end);
        const auto tile_lanes = static_cast<int>(tile.vectors * target_.width);
        loop(i64(0), product.whole_columns, tile_lanes,
             [&](Value* column) { product_rows(product, column, tile_lanes); });
        const auto rest = static_cast<int>(k % tile_lanes);
        if (rest == 0) return;
        branch(product.last_columns, [&] { product_rows(product, product.whole_columns, rest); });
      });
      product_epilogue(product, rows);
    });
  });
  b_.CreateRetVoid();
}

}  // namespace espalier::codegen
