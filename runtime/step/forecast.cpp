#include "runtime/step/forecast.h"

#include <algorithm>

namespace espalier::runtime {
namespace {

using codegen::BufferRole;
using codegen::CompiledKernel;
using scheduler::PlacedBatch;

/// Launches and pointers of a plan.
struct PlanSize {
  std::size_t launches = 0, pointers = 0;

  void add(const CompiledKernel& kernel) {
    launches += kernel.launches();
    pointers += kernel.kernel.buffers.size();
  }
};

PlanSize forward_plan(const Memory& memory, CellKernels& kernels, const StepRequest& request) {
  PlanSize size;
  for (std::size_t b = request.first_batch; b < memory.layout.batches.size(); ++b)
    size.add(forward_kernel(kernels, request.mode, memory.layout.batches[b].cell));
  return size;
}

PlanSize backward_plan(const Memory& memory, CellKernels& kernels) {
  PlanSize size;
  for (std::size_t b = 0; b < memory.layout.batches.size(); ++b) {
    const ir::CellId cell = memory.layout.batches[b].cell;
    if (memory.layout.target_count[b] > 0)
      size.add(kernels.reader_sum(memory.program.cells[std::size_t(cell)].state));
    size.add(*kernels.training(cell).backward);
  }
  for (const auto& module : kernels.training_kernels()) size.add(*module->weights);
  return size;
}

void pack(const Memory& memory, const CompiledKernel& kernel) {
  for (const codegen::Packing& packing : kernel.kernel.packings) memory.param_store.packed(packing);
}

}  // namespace

const CompiledKernel& forward_kernel(CellKernels& kernels, Mode mode, ir::CellId cell) {
  return mode == Mode::training ? *kernels.training(cell).forward : kernels.inference(cell);
}

bool draws(const codegen::Kernel& kernel) {
  return std::ranges::any_of(kernel.buffers, [](const codegen::Buffer& buffer) {
    return buffer.role == BufferRole::random_keys;
  });
}

void reserve_forward(const Memory& memory, CellKernels& kernels, Plan& plan,
                     const StepRequest& request) {
  const scheduler::Layout& layout = memory.layout;
  const bool keep = request.first_batch > 0, training = request.mode == Mode::training;
  memory.arenas.reserve_values(memory.program, layout, keep);
  for (std::size_t cell = 0; training && cell < layout.cells.size(); ++cell) {
    if (layout.cells[cell].instances.empty()) continue;
    const auto id = ir::CellId(cell);
    const TrainingKernels& module = kernels.training(id);
    memory.arenas.reserve_residuals(module, id, layout.cells[cell], keep);
    if (draws(module.forward->kernel))
      memory.arenas.keys(id).reserve(layout.cells[cell].instances.size());
  }
  std::size_t scratch = 0;
  for (std::size_t b = request.first_batch; b < layout.batches.size(); ++b) {
    const PlacedBatch& batch = layout.batches[b];
    const BatchRows of_batch(layout.cells[std::size_t(batch.cell)], batch.cell_row,
                             batch.cell_row + batch.size);
    const auto need = [&](const CompiledKernel& kernel) {
      scratch = std::max(scratch, scratch_floats(kernel.kernel, of_batch));
    };
    need(forward_kernel(kernels, request.mode, batch.cell));
    if (training) need(*kernels.training(batch.cell).backward);
  }
  for (std::size_t cell = 0; training && cell < kernels.training_kernels().size(); ++cell) {
    const scheduler::CellLayout& of_cell = layout.cells[cell];
    const BatchRows all(of_cell, 0, std::int64_t(of_cell.instances.size()));
    scratch =
        std::max(scratch, scratch_floats(kernels.training_kernels()[cell]->weights->kernel, all));
  }
  memory.arenas.scratch().reserve(scratch);
  if (memory.arenas.memory().forecast) return;
  const PlanSize size = forward_plan(memory, kernels, request);
  plan.reserve(size.launches, size.pointers);
}

void reserve_backward(const Memory& memory, CellKernels& kernels, Plan& plan) {
  memory.arenas.reserve_gradients(memory.program, memory.layout);
  for (std::size_t cell = 0; cell < memory.layout.cells.size(); ++cell)
    if (!memory.layout.cells[cell].instances.empty())
      memory.arenas.reserve_contributions(kernels.training(ir::CellId(cell)), ir::CellId(cell),
                                          memory.layout.cells[cell]);
  if (memory.arenas.memory().forecast) return;
  const PlanSize size = backward_plan(memory, kernels);
  plan.reserve(size.launches, size.pointers);
}

void make_fixed(const Memory& memory, CellKernels& kernels, Backend& backend,
                const StepRequest& request) {
  std::vector<bool> called(memory.program.cells.size(), false);
  for (const ir::CellId cell : memory.graph.cells()) called[std::size_t(cell)] = true;
  for (std::size_t c = 0; c < called.size(); ++c) {
    if (!called[c]) continue;
    pack(memory, forward_kernel(kernels, request.mode, ir::CellId(c)));
    if (request.backward()) pack(memory, *kernels.training(ir::CellId(c)).backward);
  }
  if (request.backward()) backend.update->make_gradients(memory, kernels);
}

Staged staged(const Memory& memory, CellKernels& kernels, Backend& backend,
              const StepRequest& request) {
  if (!backend.executor->memory()) return {};
  Staged result = backend.io->staged(memory, request);
  result += backend.update->staged(memory, kernels, request);
  const auto add = [&](const Staged& arrays, const PlanSize& plan) {
    result += arrays;
    result.add(plan.pointers * sizeof(void*));
    result.launches += plan.launches;
  };
  const scheduler::Layout& layout = memory.layout;
  if (request.first_batch < layout.batches.size()) {
    add(Indices::staged(layout), forward_plan(memory, kernels, request));
    for (std::size_t cell = 0; request.mode == Mode::training && cell < layout.cells.size();
         ++cell) {
      const std::size_t count = layout.cells[cell].instances.size();
      if (count > 0 && draws(kernels.training(ir::CellId(cell)).forward->kernel))
        result.add(count * sizeof(std::uint64_t));
    }
  }
  if (request.backward()) add(Indices::staged_gradients(layout), backward_plan(memory, kernels));
  result.bytes += 16 * result.launches;  // persistent kernels have a number per launch
  return result;
}

MemoryForecast forecast(const Memory& memory, CellKernels& kernels, const Plan& plan,
                        Backend& backend, const StepRequest& request) {
  backend.io->reserve_losses(memory.losses.size());
  MemoryCounter& counter = memory.arenas.memory();
  MemoryForecast forecast{counter.bytes, counter.bytes, 0};
  {
    struct Guard {
      MemoryCounter& counter;
      ~Guard() { counter.forecast = nullptr; }
    } const guard{counter};
    counter.forecast = &forecast;
    Plan none;
    reserve_forward(memory, kernels, none, request);
    if (request.backward()) reserve_backward(memory, kernels, none);
  }

  PlanSize size = forward_plan(memory, kernels, request);
  std::size_t more = 0;
  if (request.backward()) {
    const PlanSize backward = backward_plan(memory, kernels);
    size.launches = std::max(size.launches, backward.launches);
    size.pointers = std::max(size.pointers, backward.pointers);
    more += backend.update->forecast(memory, kernels, request);
  }
  if (backend.executor->memory()) {
    const bool begins = request.first_batch < memory.layout.batches.size();
    more += backend.executor->growth(staged(memory, kernels, backend, request), begins);
  } else {
    const std::size_t planned = Plan::bytes_of(size.launches, size.pointers);
    more += planned > plan.bytes() ? planned - plan.bytes() : 0;
  }
  for (std::int64_t* bytes : {&forecast.bytes, &forecast.peak_bytes, &forecast.fresh_bytes})
    *bytes += std::int64_t(more);
  return forecast;
}

}  // namespace espalier::runtime
