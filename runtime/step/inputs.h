// Rows of inputs, which are recorded and not computed: StepIo copies them from the instance graph,
// which has their bits, into the arenas before the forward direction runs.
#pragma once

#include <span>

#include "ir/build.h"
#include "runtime/step/binding.h"

namespace espalier::runtime {

/// A field of the rows of a batch of inputs.
struct InputRows {
  ir::StateId state = -1;
  int field = 0;
  std::size_t elements = 0;                   ///< of a row
  std::size_t first_row = 0;                  ///< of the state's arena
  std::span<const ir::InstanceId> instances;  ///< one a row
  const ir::InstanceGraph* graph = nullptr;
  std::size_t begin = 0;  ///< of the field among the numbers of an instance

  std::size_t stride() const { return std::size_t(codegen::row_stride(std::int64_t(elements))); }
  /// The bits of row `first_row + i`.
  std::span<const std::int32_t> row(std::size_t i) const {
    return graph->indices(instances[i]).subspan(begin, elements);
  }
};

/// Calls visit(rows) for each field of each batch of inputs from batch `first` on.
template <class Visit>
void visit_inputs(const Memory& memory, std::size_t first, const Visit& visit) {
  for (std::size_t b = first; b < memory.layout.batches.size(); ++b) {
    const scheduler::PlacedBatch& batch = memory.layout.batches[b];
    const ir::Cell& cell = memory.program.cells[std::size_t(batch.cell)];
    if (!ir::is_input(cell)) continue;
    InputRows rows{.state = cell.state,
                   .first_row = batch.state_row,
                   .instances = std::span(memory.layout.cells[std::size_t(batch.cell)].instances)
                                    .subspan(batch.cell_row, batch.size),
                   .graph = &memory.graph};
    for (const ir::Type& field : memory.program.states[std::size_t(cell.state)].fields) {
      rows.elements = std::size_t(field.shape.size());
      visit(std::as_const(rows));
      rows.begin += rows.elements;
      ++rows.field;
    }
  }
}

}  // namespace espalier::runtime
