// The layout: which row each instance's outputs occupy and how each operand is read. Made from a
// schedule, consumed by the runtime. Each state has one arena of rows for the minibatch and each
// batch owns a contiguous range of them; each cell numbers its instances (and the elements of each
// Children port) in batch order, and its index arrays are in that order. All arrays grow at the end
// when a minibatch is scheduled in several parts; `clear` keeps their capacity.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ir/record/instance_graph.h"
#include "scheduler/schedule.h"

namespace espalier::scheduler {

inline constexpr std::uint32_t no_row = UINT32_MAX;

/// How a batch reads an operand of its instances, for reports. Kernels read every operand as
/// gathered rows.
enum class Access : std::uint8_t {
  shared,      ///< all instances read one row
  contiguous,  ///< instance i reads row first + i
  gathered,    ///< instance i reads row rows[i]
};

/// Index arrays of one port of one cell.
struct PortLayout {
  std::vector<std::int32_t> values;         ///< Index: the value. Child: the operand's state row.
                                            ///< Children: the state rows of all elements, flat.
  std::vector<std::int32_t> offsets;        ///< Children: n + 1 positions in `values`, first 0
  std::vector<std::int32_t> owners;         ///< Children: the cell row that owns each element
  std::vector<std::int32_t> gradient_rows;  ///< Child, Children: where the reader stores the
                                            ///< operand's gradient (a gradient-arena row)
};

struct CellLayout {
  std::vector<ir::InstanceId> instances;  ///< cell row → instance
  std::vector<std::int32_t> state_rows;   ///< cell row → row of its outputs
  std::vector<PortLayout> ports;
};

/// A batch placed: cell rows [cell_row, cell_row + size) and state rows [state_row, … + size).
struct PlacedBatch {
  ir::CellId cell = -1;
  std::uint32_t cell_row = 0, size = 0, state_row = 0;
};

class Layout {
 public:
  std::vector<PlacedBatch> batches;
  std::vector<CellLayout> cells;
  std::vector<std::uint32_t> rows;         ///< instance → row in its state's arena
  std::vector<std::uint32_t> state_sizes;  ///< state → rows used

  /// Forgets the minibatch; keeps capacity. `program` gives the numbers of cells, ports, states.
  /// A new layout is cleared before its first use.
  void clear(const ir::Program& program);
  /// Makes room for cells and states that `program` has got since `clear`.
  void grow(const ir::Program& program);
  /// Places the batches of `schedule` behind those placed before.
  void append(const ir::InstanceGraph& graph, const Schedule& schedule, const ir::Program& program);
  /// Takes back all but the first `batch_count` batches, which hold the first `instance_count`
  /// instances.
  void cut(std::size_t batch_count, std::size_t instance_count, const ir::Program& program);
  /// What the arrays hold, capacity included.
  std::size_t bytes() const;
  /// What schedule and layout of so much hold at the most, gradient rows included and a number of 8
  /// bytes for each batch, whatever the batches.
  static std::size_t most_bytes(const ir::GraphSize& size, const ir::Program& program);

  // Gradient rows, made once the forward pass is complete. The gradient arena of a state has the
  // state's rows first. A value's first reader stores its gradient there, each other reader into an
  // extra row of its own; the rows of values without exactly one reader are summed before the
  // value's own batch runs backward: in the order of the readers' batches (in one batch by port,
  // then by position), losses last. A value read twice by one instance has two readers.
  struct GradientState {
    std::uint32_t rows = 0;             ///< rows of the gradient arena, extra ones included
    std::vector<std::int32_t> target;   ///< state rows to be summed into (0 or ≥ 2 readers)
    std::vector<std::int32_t> offsets;  ///< target.size() + 1 positions in `summed`
    std::vector<std::int32_t> summed;   ///< of each target: its own row, then its extra rows
  };
  std::vector<GradientState> gradients;  ///< one per state
  /// Batch b sums targets [first_target[b], first_target[b] + target_count[b]) of its cell's state.
  std::vector<std::uint32_t> first_target, target_count;
  /// The row seeded with the loss gradient for each entry of `losses`, in their order: a
  /// gradient-arena row of the loss cell's state, the loss's own row if the loss is read by nobody
  /// else.
  std::vector<std::int32_t> loss_rows;

  /// Fills the above. `losses` are instances whose (scalar) outputs are summed into the objective;
  /// a loss counts as a reader. An instance listed twice has two loss readers.
  void place_gradients(const ir::InstanceGraph& graph, const ir::Program& program,
                       std::span<const ir::InstanceId> losses);

  /// The part of `values` of port `p` that batch `b` reads.
  std::span<const std::int32_t> values(std::size_t batch, std::size_t port,
                                       const ir::Program& program) const;
  /// How batch `b` reads port `p`, for reports: consecutive rows (or fewer than two), every row the
  /// same (shared), or neither. For Index ports `contiguous` never holds.
  Access access(std::size_t batch, std::size_t port, const ir::Program& program) const;

 private:
  void append_port(const ir::InstanceGraph& graph, std::span<const ir::InstanceId> instances,
                   ir::PortKind kind, std::uint32_t index, std::uint32_t cell_row,
                   PortLayout& port);

  std::vector<std::uint32_t> next_operand_;           // scratch: position in graph.all_operands()
  std::vector<std::vector<std::int32_t>> next_rows_;  // scratch: state → row → gradient row
};

/// Throws InternalError unless batches own disjoint contiguous rows that cover each state's arena
/// and index arrays hold the rows of the instance graph's operands.
void check(const Layout& layout, const ir::InstanceGraph& graph, const ir::Program& program);

/// Throws InternalError unless gradient rows are as documented at `Layout::gradients`: one row per
/// reader, a value's own row if it has one reader, all extra rows summed exactly once.
void check_gradients(const Layout& layout, const ir::InstanceGraph& graph,
                     const ir::Program& program, std::span<const ir::InstanceId> losses);

}  // namespace espalier::scheduler
