// Where a minibatch's numbers lie: an arena per field of each state (values and gradients), rows
// kept per cell for the backward pass, and scratch that each batch reuses. Sized from the layout.
#pragma once

#include <vector>

#include "ir/program.h"
#include "runtime/step/buffer.h"
#include "runtime/step/cell_kernels.h"
#include "scheduler/layout.h"

namespace espalier::runtime {

class Arenas {
 public:
  /// In the host's memory if no device is given.
  explicit Arenas(DeviceMemory* device = nullptr) : device_(device) {}
  Arenas(const Arenas&) = delete;
  Arenas& operator=(const Arenas&) = delete;

  /// Room for the state rows of `layout`; rows so far are kept if `keep`, here and below.
  void reserve_values(const ir::Program& program, const scheduler::Layout& layout, bool keep);
  /// Room for the residuals of `cell`.
  void reserve_residuals(const TrainingKernels& module, ir::CellId cell,
                         const scheduler::CellLayout& layout, bool keep);
  void reserve_contributions(const TrainingKernels& module, ir::CellId cell,
                             const scheduler::CellLayout& layout);
  /// Room for the gradient rows of every state.
  void reserve_gradients(const ir::Program& program, const scheduler::Layout& layout);

  float* value(ir::StateId state, int field) { return at(values_, state, field).data(); }
  float* gradient(ir::StateId state, int field) { return at(gradients_, state, field).data(); }
  float* residual(ir::CellId cell, int i) { return at(residuals_, cell, i).data(); }
  float* contribution(ir::CellId cell, int i) { return at(contributions_, cell, i).data(); }
  Buffer<float>& scratch() { return scratch_; }
  /// Random keys of a cell, one per cell row; where the host writes them.
  Buffer<std::uint64_t>& keys(ir::CellId cell);

  /// What all of these hold; on a device, only what lies there.
  MemoryCounter& memory() { return counter_; }
  const MemoryCounter& memory() const { return counter_; }
  /// Gives all memory back; nothing that was computed is left.
  void release();

 private:
  using Table = std::vector<std::vector<Buffer<float>>>;
  /// The buffer, empty if it has not been reserved.
  Buffer<float>& at(Table& table, int row, int i);
  void reserve_kept(Table& table, std::span<const KeptRows> kept, ir::CellId cell,
                    const scheduler::CellLayout& layout, bool keep);

  DeviceMemory* device_;
  MemoryCounter counter_, of_host_;  // the other one for keys beside a device
  Table values_, gradients_, residuals_, contributions_;
  std::vector<Buffer<std::uint64_t>> keys_;
  Buffer<float> scratch_{counter_, device_};
};

/// Rows of what is kept per cell row or child row.
std::size_t kept_row_count(const KeptRows& kept, const scheduler::CellLayout& layout);

}  // namespace espalier::runtime
