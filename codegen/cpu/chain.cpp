// Emission of products of an instance's own: a matrix times a matrix or a vector, neither of them
// weights that lie packed. In the kernel IR each element is a chain of fma of its own; here a tile
// of elements walks the chains together, which shares loads and hides the latency of fma. Each
// chain keeps its order.
#include <algorithm>

#include "codegen/cpu/emitter.h"
#include "codegen/kernel/tiling.h"

namespace espalier::codegen {

/// Elements of the last two axes, or of the last one.
struct Emitter::ChainTile {
  int rows, vectors;  ///< of a whole tile
  int lanes;          ///< of a vector
  Value* memory;      ///< [chains, rows, vectors · lanes], for the stores
  Value *row, *column;
};

/// The reductions of the stage if all are such chains, else none.
std::vector<ExprId> Emitter::chains() const {
  std::vector<ExprId> result;
  if (stage_.vector_reduce || stage_.rows == RowDomain::once || stage_.extents.empty()) return {};
  for (const ExprId id : analysis_.evaluated()) {
    const Expr& expr = kernel_[id];
    if (expr.kind != ExprKind::reduce) continue;
    const bool known = kernel_[expr.operands[0]].kind == ExprKind::integer &&
                       kernel_[expr.operands[1]].kind == ExprKind::integer;
    if (expr.reduction != Reduction::fma || expr.block != 0 || !known ||
        !analysis_.depends(id, stage_.variables.back()))
      return {};
    result.push_back(id);
  }
  // A chain within a chain is no tile.
  for (const ExprId outer : result)
    for (const ExprId inner : result)
      if (analysis_.depends(inner, static_cast<VarId>(kernel_[outer].integer))) return {};
  return result;
}

/// Walks the chains of the tile's first rows and columns, and leaves the sums in memory.
void Emitter::chain_tile(const ChainTile& tile, int rows, int columns) {
  const int vectors = (columns + tile.lanes - 1) / tile.lanes, rest = columns % tile.lanes;
  const auto each = [&](const auto& body) {
    for (int r = 0; r < rows; ++r) {
      const Scope row_scope(*this);
      if (tile.row) bind(stage_.variables.end()[-2], b_.CreateAdd(tile.row, i64(r)));
      for (int v = 0; v < vectors; ++v) {
        const Scope vector_scope(*this);
        const bool whole = v + 1 < vectors || rest == 0;
        set_lanes(stage_.variables.back(), tile.lanes,
                  b_.CreateAdd(tile.column, i64(std::int64_t{v} * tile.lanes)),
                  whole ? nullptr : first_lanes(i64(rest), tile.lanes));
        body(static_cast<std::size_t>(r * vectors + v));
      }
    }
  };
  for (std::size_t c = 0; c < chains_.size(); ++c) {
    const Expr& expr = kernel_[chains_[c]];
    const std::vector<Value*> zeros(static_cast<std::size_t>(rows) * vectors,
                                    identity(Reduction::fma, tile.lanes));
    const std::vector<Value*> sums =
        loop(value(expr.operands[0]), value(expr.operands[1]), 1, zeros,
             [&](Value* index, std::span<Value* const> so_far) {
               bind(static_cast<VarId>(expr.integer), index);
               std::vector<Value*> next(so_far.begin(), so_far.end());
               each([&](std::size_t at) { next[at] = reduce_step(expr, next[at]); });
               return next;
             });
    for (int r = 0; r < rows; ++r)
      for (int v = 0; v < vectors; ++v)
        b_.CreateAlignedStore(
            sums[static_cast<std::size_t>(r * vectors + v)],
            float_at(tile.memory,
                     i64(((std::int64_t(c) * tile.rows + r) * tile.vectors + v) * tile.lanes)),
            llvm::Align(4 * tile.lanes));
  }
}

/// The tile's stores, in loops, so that there is one copy of them.
void Emitter::chain_stores(const ChainTile& tile, Value* rows) {
  Value* first = b_.CreateUDiv(tile.column, i64(tile.lanes));
  Value* last = i64(ceil_div(stage_.extents.back(), tile.lanes));
  loop(i64(0), rows, 1, [&](Value* r) {
    if (tile.row) bind(stage_.variables.end()[-2], b_.CreateAdd(tile.row, r));
    chunks(tile.lanes, first, least(b_.CreateAdd(first, i64(tile.vectors)), last), [&] {
      Value* lane = b_.CreateSub(variables_[stage_.variables.back()], tile.column);
      for (std::size_t c = 0; c < chains_.size(); ++c) {
        Value* row = b_.CreateAdd(r, i64(std::int64_t(c) * tile.rows));
        Value* at = b_.CreateAdd(b_.CreateMul(row, i64(tile.vectors * tile.lanes)), lane);
        remember(values_, chains_[c],
                 b_.CreateAlignedLoad(floats(tile.lanes), float_at(tile.memory, at),
                                      llvm::Align(4 * tile.lanes)));
      }
      stores();
    });
  });
}

void Emitter::emit_chains() {
  const std::int64_t extent = stage_.extents.back();
  const bool matrix = stage_.extents.size() > 1;
  const std::int64_t m = matrix ? stage_.extents.end()[-2] : 1;
  const int lanes = vector_width(target_, extent);
  const TileShape shape = matrix ? tile_shape(target_, 1, static_cast<long>(extent))
                                 : TileShape{.rows = 1, .vectors = target_.registers - 6};
  ChainTile tile{
      .rows = static_cast<int>(std::min<std::int64_t>(shape.rows, m)),
      .vectors = static_cast<int>(std::min<std::int64_t>(shape.vectors, ceil_div(extent, lanes))),
      .lanes = lanes,
      .memory = nullptr,
      .row = nullptr,
      .column = nullptr};
  const int columns = tile.vectors * lanes;
  tile.memory = stack_floats(std::int64_t(chains_.size()) * tile.rows * columns);
  hoist(roots_);
  loop(i64(0), i64(m), tile.rows, [&](Value* row) {
    if (matrix) tile.row = row;
    Value* rows = least(b_.CreateSub(i64(m), row), i64(tile.rows));
    loop(i64(0), i64(extent), columns, [&](Value* column) {
      tile.column = column;
      // A tile for what is left over at each border.
      const auto last_rows = static_cast<int>(m % tile.rows);
      const auto last_columns = static_cast<int>(extent % columns);
      Value* is_last_row = b_.CreateICmpSGT(row, i64(m - tile.rows));
      Value* is_last_column = b_.CreateICmpSGT(column, i64(extent - columns));
      for (const int r : {tile.rows, last_rows})
        for (const int c : {columns, last_columns}) {
          if (r == 0 || c == 0 || r > m || c > extent) continue;
          Value* of_rows = last_rows == 0 ? b_.getTrue() : is_last_row;
          Value* of_columns = last_columns == 0 ? b_.getTrue() : is_last_column;
          if (last_rows != 0 && r != last_rows) of_rows = b_.CreateNot(of_rows);
          if (last_columns != 0 && c != last_columns) of_columns = b_.CreateNot(of_columns);
          branch(b_.CreateAnd(of_rows, of_columns), [&] { chain_tile(tile, r, c); });
        }
      chain_stores(tile, rows);
    });
  });
}

}  // namespace espalier::codegen
