// The memory that a step takes: reserved by the engine before the step runs, and forecast, by the
// same functions, before anything runs at all.
#pragma once

#include "runtime/step/backend.h"
#include "runtime/step/binding.h"
#include "runtime/step/request.h"

namespace espalier::runtime {

/// The kernel that runs a cell forward.
const codegen::CompiledKernel& forward_kernel(CellKernels& kernels, Mode mode, ir::CellId cell);
/// Whether the kernel draws random numbers.
bool draws(const codegen::Kernel& kernel);

/// Room for the forward direction; in training also for the scratch of the backward direction.
void reserve_forward(const Memory& memory, CellKernels& kernels, Plan& plan,
                     const StepRequest& request);
/// Room for the backward direction, once gradient rows are laid out.
void reserve_backward(const Memory& memory, CellKernels& kernels, Plan& plan);

/// Makes what does not depend on the minibatch's size: kernels and packed weights of the cells that
/// it calls and, if the request goes backward, dense gradients.
void make_fixed(const Memory& memory, CellKernels& kernels, Backend& backend,
                const StepRequest& request);

/// Upper bound on what the request stages on a device; nothing for the host.
Staged staged(const Memory& memory, CellKernels& kernels, Backend& backend,
              const StepRequest& request);

/// What arenas, plan and sparse gradients will hold once the request has run. The minibatch is laid
/// out, with gradient rows if the request goes backward, and `make_fixed` has been called.
MemoryForecast forecast(const Memory& memory, CellKernels& kernels, const Plan& plan,
                        Backend& backend, const StepRequest& request);

}  // namespace espalier::runtime
