// Binding: which memory each buffer of a kernel is, for one batch or for all instances of a cell.
// Pointers are shifted so that kernels address a batch's own rows by cell row.
#pragma once

#include "runtime/step/arenas.h"
#include "runtime/step/cell_kernels.h"
#include "runtime/step/indices.h"
#include "runtime/step/params.h"
#include "runtime/step/plan.h"
#include "scheduler/layout.h"

namespace espalier::runtime {

/// The data of one step: what is laid out, and the memory that kernels read and write.
struct Memory {
  const ir::Program& program;
  const ir::InstanceGraph& graph;
  std::span<const ir::InstanceId> losses;
  const scheduler::Layout& layout;
  Arenas& arenas;
  ParamStore& param_store;
  const Indices& indices;

  /// The state of an instance's outputs.
  ir::StateId state(ir::InstanceId id) const {
    return program.cells[std::size_t(graph.cell(id))].state;
  }
};

/// Scratch floats that a kernel needs for the rows.
std::size_t scratch_floats(const codegen::Kernel& kernel, const LaunchRows& rows);

/// The rows of a batch, or of all instances of a cell.
struct BatchRows final : LaunchRows {
  BatchRows(const scheduler::CellLayout& layout, std::int64_t first, std::int64_t last)
      : layout(layout) {
    begin = first;
    end = last;
  }
  std::pair<std::int64_t, std::int64_t> children(int port) const override {
    const auto& offsets = layout.ports[std::size_t(port)].offsets;
    return {offsets[std::size_t(begin)], offsets[std::size_t(end)]};
  }
  const scheduler::CellLayout& layout;
};

/// Adds the launches of a cell's kernel for one batch of the layout (forward or backward).
void add_batch(Plan& plan, const Memory& memory, const codegen::CompiledKernel& kernel,
               const scheduler::PlacedBatch& batch);

/// Adds the weight-gradient launches of a cell over all its instances.
void add_weights(Plan& plan, const Memory& memory, const codegen::CompiledKernel& kernel,
                 ir::CellId cell);

/// Adds the sums over readers for targets [first, first + count) of a state.
void add_reader_sum(Plan& plan, const Memory& memory, const codegen::CompiledKernel& kernel,
                    ir::StateId state, std::uint32_t first, std::uint32_t count);

}  // namespace espalier::runtime
