// Printing of outer products: weight gradients. The tile itself is in the prelude.
#include <fmt/format.h>

#include "base/error.h"
#include "codegen/cuda/emitter.h"

namespace espalier::codegen {

CudaStage CudaEmitter::outer_product() {
  const auto parts = match_outer_product(kernel_, stage_, analysis_);
  internal_check(parts.has_value(), "kernel '{}': an outer product of another form", kernel_.name);
  const std::int64_t m = stage_.extents[0], k = stage_.extents[1];
  const Expr &sum = kernel_[parts->sum], &left = kernel_[parts->left];
  const auto tiles = [&](int rows) { return (m + 16 * rows - 1) / (16 * rows) * ((k + 63) / 64); };
  const bool in_parts = stage_.rows == RowDomain::parts;
  // Where large tiles are too few for a GPU, smaller ones. In parts there are many, but their state
  // takes the registers.
  const int rows = !in_parts && tiles(4) >= 96 ? 4 : 2;
  CudaStage result;
  result.parts = tiles(rows);
  result.shared_bytes = 4 * 3 * 16 * (16 * rows + 64);

  line("using Shape = Product<{}, {}, {}, {}, {}>;", m, k,
       *strides(kernel_, analysis_, stage_.variables[0])[left.operands[0]], rows, sum.block);
  if (!in_parts) {
    print_product(*parts, "block", "blocks");
    return result;
  }
  // The tiles of a part begin at the block behind the last one of the part before.
  line("unsigned first = block;");
  block(fmt::format("for (int v{0} = static_cast<int>(row_begin); v{0} < row_end; ++v{0}) {{",
                    stage_.row),
        [&] {
          bind(stage_.row);
          block(fmt::format("if (first < {}u) {{", result.parts),
                [&] { print_product(*parts, "first", "blocks"); });
          line("first = (first + blocks - {}u % blocks) % blocks;", result.parts);
        });
  return result;
}

/// Tiles `first`, `first` + `step`, … of the product.
void CudaEmitter::print_product(const OuterProduct& parts, const std::string& first,
                                const std::string& step) {
  const VarId i = stage_.variables[0], j = stage_.variables[1];
  const Expr &sum = kernel_[parts.sum], &left = kernel_[parts.left], &right = kernel_[parts.right];
  const auto row = static_cast<VarId>(sum.integer);
  hoist(roots_);
  const std::string begin = value(sum.operands[0]), end = value(sum.operands[1]);
  block(
      fmt::format("const auto rows = [&](i64 row, const float*& left, const float*& right) {{"),
      [&] {
        line("const int v{} = static_cast<int>(row), v{} = 0, v{} = 0;", row, i, j);
        for (VarId v : {row, i, j}) bind(v);
        line("left = b{} + {};", left.buffer, value(left.operands[0]));
        line("right = b{} + {};", right.buffer, value(right.operands[0]));
      },
      "};");
  block(
      fmt::format("const auto store = [&](int v{}, int v{}, float sum) {{", i, j),
      [&] {
        bind(i);
        bind(j);
        remember(parts.sum, "sum");
        stores();
      },
      "};");
  // The rows of a part are few: fewer registers.
  line("outer_product<Shape, {}>({}, {}, {}, {}, rows, store);",
       stage_.rows == RowDomain::parts ? "int" : "i64", begin, end, first, step);
}

}  // namespace espalier::codegen
