// Where kernels find the index arrays of a layout: for each cell and port the address that the
// executor gave it. Filled before a plan is made, read by binding.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/step/executor.h"
#include "scheduler/layout.h"

namespace espalier::runtime {

class Indices {
 public:
  struct Port {
    const std::int32_t *values = nullptr, *offsets = nullptr, *owners = nullptr,
                       *gradient_rows = nullptr;
  };
  struct Cell {
    const std::int32_t *state_rows = nullptr, *row_count = nullptr;
    const std::uint64_t* keys = nullptr;
    std::span<const Port> ports;
  };
  struct Readers {  ///< scheduler::Layout::GradientState
    const std::int32_t *target = nullptr, *offsets = nullptr, *summed = nullptr;
  };

  /// Room for the cells of `program`.
  void reserve(const ir::Program& program);
  /// Places what the forward pass reads.
  void place(const scheduler::Layout& layout, Executor& executor);
  /// And the gradient rows.
  void place_gradients(const scheduler::Layout& layout, Executor& executor);
  /// Random keys of a cell, one for each of its rows.
  void place_keys(ir::CellId cell, std::span<const std::uint64_t> keys, Executor& executor);

  /// What `place` places, and what `place_gradients` does.
  static Staged staged(const scheduler::Layout& layout);
  static Staged staged_gradients(const scheduler::Layout& layout);

  const Cell& cell(ir::CellId id) const { return cells_[std::size_t(id)]; }
  const Readers& readers(ir::StateId state) const { return readers_[std::size_t(state)]; }
  /// Instances of each cell.
  std::span<const std::int32_t> row_counts() const { return row_counts_; }
  std::size_t bytes() const;

 private:
  std::vector<Cell> cells_;
  std::vector<Port> ports_;
  std::vector<Readers> readers_;
  std::vector<std::int32_t> row_counts_;
};

}  // namespace espalier::runtime
