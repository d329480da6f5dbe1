// Splitting off outer products: both factors gathered into scratch, rows of 0 behind them, and one
// product for all pieces of a gradient.
#include <algorithm>

#include "base/error.h"
#include "codegen/kernel/analysis.h"
#include "codegen/kernel/library_splitter.h"

namespace espalier::codegen {

std::optional<LibrarySplitter::Factors> LibrarySplitter::factors(const Stage& stage) {
  const StageAnalysis analysis(kernel_, stage);
  const auto parts = match_outer_product(kernel_, stage, analysis);
  internal_check(parts.has_value(), "kernel '{}': an outer product of another form", kernel_.name);
  const VarId i = stage.variables[0], j = stage.variables[1];
  const Expr sum = kernel_[parts->sum], end = kernel_[sum.operands[1]];
  const Expr left = kernel_[parts->left], right = kernel_[parts->right];
  const auto by_i = strides(kernel_, analysis, i);
  const Expr begin = kernel_[sum.operands[0]];
  if (begin.kind != ExprKind::integer || begin.integer != 0 || end.kind != ExprKind::load_index ||
      kernel_.buffers[std::size_t(end.buffer)].role != BufferRole::row_count ||
      by_i[std::size_t(left.operands[0])] != 1)
    return std::nullopt;

  Factors result;
  result.rows = std::int8_t(kernel_.buffers[std::size_t(end.buffer)].a);
  const auto variable = row_variables_.find(result.rows);
  const VarId row = variable != row_variables_.end()
                        ? variable->second
                        : row_variables_.emplace(result.rows, b_.variable()).first->second;
  const ExprId zero = b_.integer(0);
  const std::map<VarId, ExprId> first{{VarId(sum.integer), b_.var(row)}, {i, zero}, {j, zero}};
  const Store store = stage.stores[0];
  result.pitch = by_i[std::size_t(store.address)].value();
  const Expr offset = kernel_[with_variables(store.address, {{i, zero}, {j, zero}})];
  if (offset.kind != ExprKind::integer) return std::nullopt;
  result.column = offset.integer;
  result.end = with_variables(sum.operands[1], {});
  result.left = {left.buffer, with_variables(left.operands[0], first)};
  result.right = {right.buffer, with_variables(right.operands[0], first)};
  result.m = stage.extents[0];
  result.k = stage.extents[1];
  result.gradient = store.buffer;
  result.accumulates = parts->previous >= 0;
  return result;
}

std::size_t LibrarySplitter::outer_products(std::span<const Stage> stages,
                                            std::vector<Stage>& rest) {
  std::vector<Factors> pieces;
  ContractionShape shape{.over_rows = true, .m = stages[0].extents[0], .terms = {}};
  for (const Stage& stage : stages) {
    if (!stage.outer_product || stage.library) break;
    const std::optional<Factors> piece = factors(stage);
    if (!piece || (!pieces.empty() && !pieces[0].continued_by(*piece, shape.k()))) break;
    pieces.push_back(*piece);
    shape.terms.push_back(piece->k);
  }
  const std::size_t count = std::max<std::size_t>(pieces.size(), 1);
  if (pieces.empty() || !by_library_(shape))
    rest.insert(rest.end(), stages.begin(), stages.begin() + std::ptrdiff_t(count));
  else
    outer_product(pieces, shape.k());
  return count;
}

void LibrarySplitter::outer_product(const std::vector<Factors>& pieces, std::int64_t k) {
  const Factors& one = pieces[0];
  std::vector<Piece> right;
  std::int64_t column = 0;
  for (const Factors& piece : pieces) {
    right.push_back({piece.right.first, piece.right.second, column, piece.k});
    column += piece.k;
  }
  const BufferId a = factor(one.rows, {{one.left.first, one.left.second, 0, one.m}}, one.m);
  const BufferId b = factor(one.rows, right, k);

  Stage stage;
  stage.rows = RowDomain::once;
  stage.outer_product = true;
  stage.extents = {one.m, k};
  stage.variables = {b_.variable(), b_.variable()};
  const ExprId i = b_.var(stage.variables[0]), j = b_.var(stage.variables[1]);
  const VarId row = b_.variable();
  const ExprId address = b_.add(b_.add(b_.multiply(i, one.pitch), j), b_.integer(one.column));
  ExprId sum = b_.reduce(Reduction::fma, row, b_.integer(0), one.end,
                         b_.load(a, element(b_.var(row), one.m, i)),
                         b_.load(b, element(b_.var(row), k, j)), row_block);
  if (one.accumulates)
    sum = b_.emit(ir::Opcode::add, std::array{b_.load(one.gradient, address), sum}, 0);
  stage.stores = {{one.gradient, address, sum}};
  stage.library = {.over_rows = true,
                   .rows = one.rows,
                   .accumulates = one.accumulates,
                   .bf16 = bf16_,
                   .a = a,
                   .b = b,
                   .out = one.gradient,
                   .m = one.m,
                   .k = k,
                   .a_pitch = library_pitch(one.m),
                   .b_pitch = library_pitch(k),
                   .out_pitch = one.pitch,
                   .out_offset = one.column};
  kernel_.stages.push_back(std::move(stage));
}

BufferId LibrarySplitter::factor(std::int8_t rows, const std::vector<Piece>& pieces,
                                 std::int64_t columns) {
  std::vector<std::array<std::int64_t, 3>> key{{rows, columns, 0}};
  for (const Piece& piece : pieces) key.push_back({piece.from, piece.address, piece.length});
  if (const auto found = factors_.find(key); found != factors_.end()) return found->second;
  const BufferId to = scratch(columns, rows, bf16_);
  const bool children = rows != ir::per_instance;
  const VarId row = row_variables_.at(rows);
  gather(children ? RowDomain::children : RowDomain::instances, children ? rows : -1, row, pieces,
         to, columns);
  Stage padding = map_stage(RowDomain::padding, children ? rows : -1, row, columns);
  padding.stores = {
      {to, element(b_.var(row), columns, b_.var(padding.variables[0])), b_.number(0)}};
  kernel_.stages.push_back(std::move(padding));
  return factors_[key] = to;
}

}  // namespace espalier::codegen
