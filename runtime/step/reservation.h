// The memory of a pass: what the batches and rows of a layout need of arenas and plan. Reserved by
// the engine before a pass runs; foretold, by the same functions, before a minibatch runs at all.
#pragma once

#include "runtime/step/binding.h"
#include "runtime/step/options.h"

namespace espalier::runtime {

/// A pass over placed batches.
struct ForwardRows {
  Mode mode = Mode::training;
  std::size_t first_batch = 0;  ///< those before have run forward; their rows are kept
};

/// The kernel that runs a cell forward.
const codegen::CompiledKernel& forward_kernel(CellKernels& kernels, Mode mode, ir::CellId cell);
/// Whether the kernel draws random numbers.
bool draws(const codegen::Kernel& kernel);

/// Room for the forward pass; in training also the scratch of the backward pass.
void reserve_forward(const Memory& memory, CellKernels& kernels, Plan& plan, ForwardRows rows);
/// Room for the backward mode, once gradients are placed.
void reserve_backward(const Memory& memory, CellKernels& kernels, Plan& plan);

/// Makes what the pass needs whatever the minibatch: kernels and packed weights of the cells that
/// `graph` calls and, if `gradients`, dense gradients.
void make_fixed(const Memory& memory, CellKernels& kernels, Executor& executor,
                const ir::InstanceGraph& graph, Mode mode, bool gradients);

/// What the pass and, if `gradients`, the backward pass over what is placed will place on a device.
Staged staged(const Memory& memory, CellKernels& kernels, Placement& placement, Executor& executor,
              ForwardRows rows, bool gradients, bool accumulates);

/// What arenas, plan and sparse gradients would hold after a forward pass and, if `gradients`, a
/// backward pass (`accumulates` as in Update::collect), gradients being placed then. What is fixed
/// has been made.
MemoryForecast forecast(const Memory& memory, CellKernels& kernels, const Plan& plan,
                        Placement& placement, Executor& executor, ForwardRows rows, bool gradients,
                        bool accumulates);

}  // namespace espalier::runtime
