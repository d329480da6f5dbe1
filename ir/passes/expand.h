// Cells → one-op cells, for the granularity `op`: every op of a cell's body becomes a cell of its
// own and every call becomes an instance per op. Made once per program and read by the recorder at
// every call; the engine compiles the one-op cells like any others. Always holds: a step reads
// earlier steps of its template only, and equal one-op cells are one cell.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "ir/program.h"

namespace espalier::ir {

/// From where a step reads: a field of the call's operands at a port, or an earlier step.
struct StepSource {
  enum class Kind : std::uint8_t { port, step };
  Kind kind = Kind::port;
  int id = 0;         ///< port of the original cell, or position in the template's steps
  int field = 0;      ///< of the port's state
  bool each = false;  ///< one value per element of a Children port

  bool operator==(const StepSource&) const = default;
};

/// One op of a cell's body: one instance, or one per element of a Children port.
struct Step {
  CellId cell = -1;  ///< of the expansion's program
  /// The Children port of the original cell over whose elements the step is repeated, or whose
  /// elements it combines; -1 for neither.
  int over = -1;
  bool combines = false;  ///< reads all elements at once, through a Children port
  std::vector<StepSource> operands;
  std::vector<int> index_ports;  ///< of the original cell
};

/// How a call of one cell is spelled in one-op instances.
struct CellTemplate {
  std::vector<Step> steps;
  std::vector<StepSource> outputs;  ///< one per field of the cell's state
};

/// Values that are the same for every instance (params, constants and movements of these), indices
/// and dropout masks stay inside the one-op cells that read them; a value spread over children is
/// no instance either.
class Expansion {
 public:
  /// Expands all cells of `source`, whose params and name it takes over.
  explicit Expansion(const Program& source);

  /// Expands `cell`, the next of `source`.
  void add(const Program& source, const Cell& cell);

  const Program& program() const { return program_; }
  std::span<const CellTemplate> templates() const { return templates_; }

 private:
  friend class CellExpander;
  CellId intern(Cell cell);

  Program program_;
  std::vector<CellTemplate> templates_;
  std::unordered_multimap<std::size_t, CellId> table_;  // hash → candidates, compared in full
};

}  // namespace espalier::ir
