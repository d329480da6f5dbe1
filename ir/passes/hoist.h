// Hoisting: what a recurrent cell computes from its Index ports alone, e.g. the input projection of
// an LSTM, becomes a cell of its own. Its calls depend on nothing, so they run as one batch for the
// whole minibatch, and the cell itself has less to do at each step. Made once per program, before
// fuse_contractions; read by the recorder, which records a call of such a cell as two instances.
#pragma once

#include <span>
#include <vector>

#include "ir/program.h"

namespace espalier::ir {

/// How a call of one cell is spelled in the hoisted program.
struct HoistedCell {
  CellId cell = -1;     ///< the cell, or what is left of it: its last port reads `hoisted`
  CellId hoisted = -1;  ///< -1: the cell was not split
  /// What each reads of the call's indices: positions among the values of Index ports and the
  /// numbers of children. For a split cell only; another reads all.
  std::vector<int> indices, hoisted_indices;

  bool is_split() const { return hoisted >= 0; }
};

/// A cell is split if it depends on its own outputs through any cells of the program, and only for
/// values that contain a product with weights; other values of Index ports, dropout masks and
/// whatever is read per child stay. Results differ by rounding: W·x and U·h are no longer one sum.
/// Tested by tests/ir/hoist_test.cpp.
class Hoisting {
 public:
  /// Splits all cells of `source`, whose params and name it takes over.
  explicit Hoisting(const Program& source);

  /// Takes over `cell`, the next of `source`.
  void add(const Program& source, const Cell& cell);

  const Program& program() const { return program_; }
  /// By cell of the source.
  std::span<const HoistedCell> cells() const { return cells_; }

 private:
  CellId append(Cell cell);

  Program program_;
  std::vector<HoistedCell> cells_;
  std::vector<StateId> states_;  // source → program
};

}  // namespace espalier::ir
