#include "runtime/step/binding.h"

#include "base/error.h"

namespace espalier::runtime {

using KernelBuffer = codegen::Buffer;
using codegen::BufferRole;
using codegen::CompiledKernel;

namespace {

std::size_t aligned(std::size_t floats) { return (floats + 15) / 16 * 16; }

/// The pointer from which row `row` of n elements lies at `memory`; never followed before that row.
template <class T>
void* shifted(T* memory, std::int64_t row, std::int64_t n) {
  return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(memory) -
                                 std::uintptr_t(row * n) * sizeof(T));
}

/// Whether it lies in the scratch arena.
bool within_kernel(const KernelBuffer& buffer) {
  return buffer.role == BufferRole::scratch || buffer.role == BufferRole::partial;
}

std::pair<std::int64_t, std::int64_t> scratch_rows(const KernelBuffer& buffer,
                                                   const LaunchRows& rows) {
  if (buffer.role == BufferRole::partial) return {0, rows.parts(buffer.children, buffer.b)};
  auto [begin, end] = buffer.children == ir::per_instance ? std::pair(rows.begin, rows.end)
                                                          : rows.children(buffer.children);
  if (buffer.padded) end = begin + codegen::padded_rows(end - begin);
  return {begin, end};
}

template <class T>
void* index_pointer(const T* values) {
  return const_cast<T*>(values);  // kernels only read indices
}

class Binder {
 public:
  Binder(const Memory& memory, ir::CellId cell)
      : memory_(memory),
        cell_(memory.program.cells[std::size_t(cell)]),
        id_(cell),
        layout_(memory.layout.cells[std::size_t(cell)]),
        indices_(memory.indices.cell(cell)) {}

  /// What does not depend on the batch; nullptr for roles that do.
  void* common(const codegen::Kernel& kernel, const KernelBuffer& buffer) {
    const auto a = std::size_t(buffer.a);
    switch (buffer.role) {
      case BufferRole::state_field:
        return memory_.arenas.value(cell_.ports[a].state, buffer.b);
      case BufferRole::child_gradient:
        return memory_.arenas.gradient(cell_.ports[a].state, buffer.b);
      case BufferRole::residual:
        return memory_.arenas.residual(id_, buffer.a);
      case BufferRole::contribution:
        return memory_.arenas.contribution(id_, buffer.a);
      case BufferRole::param:
        return memory_.param_store.data(buffer.a);
      case BufferRole::param_gradient:
        return memory_.param_store.gradient(buffer.a).data();
      case BufferRole::packed:
        return memory_.param_store.packed(kernel.packings[a]);
      case BufferRole::port_values:
        return index_pointer(indices_.ports[a].values);
      case BufferRole::port_offsets:
        return index_pointer(indices_.ports[a].offsets);
      case BufferRole::port_owners:
        return index_pointer(indices_.ports[a].owners);
      case BufferRole::port_gradient_rows:
        return index_pointer(indices_.ports[a].gradient_rows);
      case BufferRole::own_rows:
        return index_pointer(indices_.state_rows);
      case BufferRole::random_keys:
        return index_pointer(indices_.keys);
      case BufferRole::own_field:
        return memory_.arenas.value(cell_.state, buffer.a);
      case BufferRole::cotangent:
        return memory_.arenas.gradient(cell_.state, buffer.a);
      case BufferRole::scratch:
      case BufferRole::partial:
      case BufferRole::row_count:
        return nullptr;
    }
    return nullptr;
  }

  const ir::Cell& cell() const { return cell_; }
  const scheduler::CellLayout& layout() const { return layout_; }
  const Indices::Cell& indices() const { return indices_; }

 private:
  const Memory& memory_;
  const ir::Cell& cell_;
  ir::CellId id_;
  const scheduler::CellLayout& layout_;
  const Indices::Cell& indices_;
};

}  // namespace

std::size_t scratch_floats(const codegen::Kernel& kernel, const LaunchRows& rows) {
  std::size_t floats = 0;
  for (const KernelBuffer& buffer : kernel.buffers) {
    if (!within_kernel(buffer)) continue;
    const auto [begin, end] = scratch_rows(buffer, rows);
    floats += aligned(std::size_t((end - begin) * buffer.row_floats()));
  }
  return floats;
}

void add_batch(Plan& plan, const Memory& memory, const CompiledKernel& kernel,
               const scheduler::PlacedBatch& batch) {
  Binder binder(memory, batch.cell);
  const BatchRows rows(binder.layout(), batch.cell_row, batch.cell_row + batch.size);
  float* scratch = memory.arenas.scratch().data();
  for (const KernelBuffer& buffer : kernel.kernel.buffers) {
    const std::int64_t n = buffer.row_elements;
    // Kernels number a batch's own rows by cell row; the arena numbers them by state row.
    const std::int64_t shift = rows.begin - std::int64_t(batch.state_row);
    if (buffer.role == BufferRole::own_field) {
      plan.bind(shifted(memory.arenas.value(binder.cell().state, buffer.a), shift, n));
    } else if (buffer.role == BufferRole::cotangent) {
      plan.bind(shifted(memory.arenas.gradient(binder.cell().state, buffer.a), shift, n));
    } else if (buffer.role == BufferRole::scratch) {
      const auto [begin, end] = scratch_rows(buffer, rows);
      plan.bind(shifted(scratch, begin, buffer.row_floats()));
      scratch += aligned(std::size_t((end - begin) * buffer.row_floats()));
    } else {
      plan.bind(binder.common(kernel.kernel, buffer));
    }
  }
  plan.add(kernel, rows, int(&batch - memory.layout.batches.data()));
}

void add_weights(Plan& plan, const Memory& memory, const CompiledKernel& kernel, ir::CellId cell) {
  Binder binder(memory, cell);
  const BatchRows rows(binder.layout(), 0, std::int64_t(binder.layout().instances.size()));
  float* scratch = memory.arenas.scratch().data();
  for (const KernelBuffer& buffer : kernel.kernel.buffers) {
    void* pointer = binder.common(kernel.kernel, buffer);
    if (within_kernel(buffer)) {
      const auto [begin, end] = scratch_rows(buffer, rows);
      pointer = scratch;
      scratch += aligned(std::size_t((end - begin) * buffer.row_floats()));
    }
    if (buffer.role == BufferRole::row_count) {
      const auto port = std::size_t(buffer.a);
      pointer = index_pointer(buffer.a == ir::per_instance
                                  ? binder.indices().row_count
                                  // The last offset of a port is its number of child rows.
                                  : binder.indices().ports[port].offsets +
                                        binder.layout().ports[port].offsets.size() - 1);
    }
    plan.bind(pointer);
  }
  plan.add(kernel, rows);
}

void add_reader_sum(Plan& plan, const Memory& memory, const CompiledKernel& kernel,
                    ir::StateId state, std::uint32_t first, std::uint32_t count) {
  const Indices::Readers& readers = memory.indices.readers(state);
  struct Rows final : LaunchRows {
    std::pair<std::int64_t, std::int64_t> children(int) const override { return {0, 0}; }
  } rows;
  rows.begin = first;
  rows.end = std::int64_t(first) + count;
  for (const KernelBuffer& buffer : kernel.kernel.buffers) {
    switch (buffer.role) {
      case BufferRole::port_offsets:
        plan.bind(index_pointer(readers.offsets));
        break;
      case BufferRole::port_values:
        plan.bind(index_pointer(readers.summed));
        break;
      case BufferRole::port_gradient_rows:
        plan.bind(index_pointer(readers.target));
        break;
      default:
        plan.bind(memory.arenas.gradient(state, buffer.b));
    }
  }
  plan.add(kernel, rows);
}

}  // namespace espalier::runtime
