// Splits a library's products off a kernel. library_calls.cpp handles contractions and what both
// kinds share, library_outer.cpp outer products. Internal to codegen; made by
// split_library_contractions.
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "codegen/kernel/library_calls.h"

namespace espalier::codegen {

/// Floats (or bfloat16 numbers) from one row of a library's operand to the next: rows begin at
/// multiples of 32 bytes (16 for bfloat16), so that the library may load vectors.
inline std::int64_t library_pitch(std::int64_t columns) { return (columns + 7) / 8 * 8; }

class LibrarySplitter {
 public:
  LibrarySplitter(Kernel kernel, const std::function<bool(const ContractionShape&)>& by_library,
                  bool bf16)
      : kernel_(std::move(kernel)), by_library_(by_library), bf16_(bf16), b_(kernel_) {
    for (const Buffer& buffer : kernel_.buffers)
      if (buffer.role == BufferRole::scratch) next_scratch_ = std::max(next_scratch_, buffer.a + 1);
  }

  Kernel run();

 private:
  /// An outer product: what it sums over, and the rows of its factors as expressions of a row
  /// variable that all products over rows of the same kind share.
  struct Factors {
    std::int8_t rows = ir::per_instance;
    ExprId end = -1;
    std::pair<BufferId, ExprId> left, right;  ///< buffer, element 0 of the row
    std::int64_t m = 0, k = 0;
    BufferId gradient = -1;
    std::int64_t pitch = 0, column = 0;
    bool accumulates = false;

    /// Whether `next` continues this one's rows of the gradient.
    bool continued_by(const Factors& next, std::int64_t columns) const {
      return rows == next.rows && end == next.end && left == next.left && m == next.m &&
             gradient == next.gradient && pitch == next.pitch && column + columns == next.column &&
             accumulates == next.accumulates;
    }
  };

  void choose_packings();
  /// Handles stages that may run at the same time: products first, then the rest together.
  void joined(std::span<const Stage> stages);
  BufferId scratch(std::int64_t columns, std::int8_t children, bool bf16);
  ExprId element(ExprId row, std::int64_t columns, ExprId at);
  /// A stage over `extent` elements of each row, without stores yet.
  Stage map_stage(RowDomain rows, int port, VarId row, std::int64_t extent);
  /// Copies pieces of rows side by side. A piece begins at an element of a buffer. Pieces of one
  /// length share a stage.
  struct Piece {
    BufferId from = -1;
    ExprId address = -1;
    std::int64_t column = 0, length = 0;
  };
  void gather(RowDomain rows, int port, VarId row, const std::vector<Piece>& pieces, BufferId to,
              std::int64_t columns);

  /// An address of the form row · stride + first, without an index load.
  struct InRow {
    std::int64_t stride = 0, first = 0;
  };
  std::optional<InRow> in_row(const Stage& stage, ExprId address, VarId element);
  /// If stages of this kernel have just computed, row by row, everything that would be gathered,
  /// makes them store it to `to` as well.
  bool store_twice(const Stage& stage, const std::vector<Piece>& pieces, BufferId to,
                   std::int64_t columns);
  void contraction(const Stage& stage);
  /// The expression with loads of the sums for accumulators.
  ExprId with_sums(ExprId id, const Stage& stage, BufferId sums, std::int64_t m,
                   std::vector<ExprId>& known);
  /// The integer expression with other expressions for some variables; equal ones get one id.
  ExprId with_variables(ExprId id, const std::map<VarId, ExprId>& variables);

  /// Nothing if a library cannot do the outer product: it sums over something else than rows, or
  /// the elements of its left factor are not consecutive.
  std::optional<Factors> factors(const Stage& stage);
  /// Takes the leading stages that are pieces of one product. They become that product, or are
  /// appended to `rest`. Gives how many there were.
  std::size_t outer_products(std::span<const Stage> stages, std::vector<Stage>& rest);
  void outer_product(const std::vector<Factors>& pieces, std::int64_t k);
  /// The rows of a factor in scratch, gathered once for all products that read them; the rows
  /// behind them, up to padded_rows, hold 0.
  BufferId factor(std::int8_t rows, const std::vector<Piece>& pieces, std::int64_t columns);

  Kernel kernel_;
  const std::function<bool(const ContractionShape&)>& by_library_;
  bool bf16_;
  KernelBuilder b_;
  int next_scratch_ = 0;
  std::vector<bool> split_;                     // by packing
  std::map<std::int8_t, VarId> row_variables_;  // of factors, by what their rows count
  std::map<std::vector<std::array<std::int64_t, 3>>, BufferId> factors_;
};

}  // namespace espalier::codegen
