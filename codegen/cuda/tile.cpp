// Printing of contractions: the shapes of their tiles, and the functions that find a row and that
// store an element. The tile itself is in the prelude.
#include <fmt/format.h>

#include <algorithm>

#include "codegen/cuda/emitter.h"

namespace espalier::codegen {

namespace {

constexpr int stages = 3;  // of shared memory, as in the prelude

/// See `contract` in the prelude.
struct Shape {
  int panels = 1;          ///< of a tile
  int column_threads = 1;  ///< side by side; above each other, the rest
  int rows = 1;            ///< of a thread
  int columns = 1;         ///< of a thread, column_threads apart
  int chunk = 16;
  int unroll = 1;
  int tile_columns = 1;

  int tile_rows() const { return cuda_threads / column_threads * rows; }
  std::int64_t shared_bytes(int terms) const {
    const std::int64_t pointers = ceil_div(2 * terms * tile_rows(), 4) * 4;
    const std::int64_t stage = chunk * tile_columns + tile_rows() * (chunk + 4);
    const std::int64_t sums = tile_rows() * tile_columns;
    return 4 * (pointers + std::max(stages * stage, sums));
  }
};

/// One panel and few rows: as many blocks as there are panels share the weights of a small batch.
Shape small_shape(const Packing& packing) {
  const int width = packing.gates * packing.lanes;
  Shape shape{.tile_columns = width};
  shape.columns = static_cast<int>(ceil_div(width, 64));
  shape.column_threads = static_cast<int>(ceil_div(width, shape.columns));
  shape.rows = shape.column_threads >= 16 ? 2 : 1;
  shape.chunk = width <= 64 ? 64 : 16;
  shape.unroll = 2;
  return shape;
}

/// Several panels and many rows: each number that is read is used for many sums. A thread has at
/// most about `sums` of them, as many as registers hold.
Shape large_shape(const Packing& packing, int sums) {
  const int width = packing.gates * packing.lanes;
  Shape shape;
  shape.panels = static_cast<int>(std::clamp<std::int64_t>(160 / width, 1, packing.panels()));
  shape.tile_columns = shape.panels * width;
  shape.column_threads = std::min(shape.tile_columns, 32);
  shape.columns = static_cast<int>(ceil_div(shape.tile_columns, shape.column_threads));
  shape.rows = shape.column_threads < 32 ? 4 : std::clamp(sums / shape.columns, 1, 8);
  return shape;
}

std::string print(const Shape& shape, const Packing& packing) {
  return fmt::format("Tile<{}, {}, {}, {}, {}, {}, {}, {}, {}, {}>", packing.gates, packing.lanes,
                     packing.gate_length(), packing.k, shape.panels, shape.column_threads,
                     shape.columns, shape.rows, shape.chunk, shape.unroll);
}

}  // namespace

CudaStage CudaEmitter::contraction() {
  const Contraction& contraction = *stage_.contraction;
  const Packing& packing = kernel_.packings[contraction.packing];
  const int terms = static_cast<int>(contraction.terms.size());
  const Shape small = small_shape(packing),
              large = large_shape(packing, form_ == StageForm::plain ? 28 : 24);
  CudaStage result;
  result.row_tile = small.tile_rows();
  result.parts = packing.panels();
  result.large_row_tile = large.tile_rows();
  result.large_parts = ceil_div(packing.panels(), large.panels);
  // Large tiles once there are enough of them for a good part of a GPU.
  constexpr std::int64_t enough = 48;
  result.large_from = large.tile_rows() * std::max<std::int64_t>(enough / result.large_parts, 1);
  result.shared_bytes = std::max(small.shared_bytes(terms), large.shared_bytes(terms));

  std::string ends;
  for (const Contraction::Term& term : contraction.terms)
    ends += fmt::format("{}{}", ends.empty() ? "" : ", ", term.k_begin + term.k_length);
  line("using Ends = Terms<{}>;", ends);
  line("using Small = {};", print(small, packing));
  line("using Large = {};", print(large, packing));
  std::vector<ExprId> invariant = roots_;
  for (const Contraction::Term& term : contraction.terms) invariant.push_back(term.address);
  hoist(invariant);
  block(
      fmt::format("const auto rows = [&](int v{}, const float** to, int next) {{", stage_.row),
      [&] {
        bind(stage_.row);
        for (int t = 0; t < terms; ++t) {
          const Contraction::Term& term = contraction.terms[t];
          line("to[{} * next] = b{} + {};", t, term.x, value(term.address));
        }
      },
      "};");
  block(
      fmt::format("const auto store = [&](int v{}, int v{}, const float* sums) {{", stage_.row,
                  stage_.variables[0]),
      [&] {
        bind(stage_.row);
        bind(stage_.variables[0]);
        stores();
      },
      "};");
  const std::string arguments =
      fmt::format("(b{}, row_begin, row_end, block, blocks, rows, store);", contraction.weights);
  if (form_ == StageForm::held) {
    line("contract_held<{}, Ends>(held, b{}, row_begin, row_end, block, rows, store);",
         print_held(kernel_, stage_), contraction.weights);
    return result;
  }
  line("if (row_end - row_begin < {})", result.large_from);
  line("  contract<Small, Ends>{}", arguments);
  line("else");
  line("  contract<Large, Ends>{}", arguments);
  return result;
}

}  // namespace espalier::codegen
