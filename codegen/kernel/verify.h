// Checks what must hold of a Kernel before it is interpreted, printed or emitted. Lowering's tests
// and, where ESPALIER_VERIFY is set, the Compiler run it on every kernel.
#pragma once

#include "codegen/kernel/kernel.h"

namespace espalier::codegen {

/// Throws InternalError, with the kernel's name, stage and expression, if ids are out of range, an
/// address or operand is of the wrong type, a variable is used outside its loop, an accumulator
/// outside a contraction, the terms of a contraction do not cover k, or a stage marked
/// outer_product does not have that form. verify_memory.h checks what stages read of each other.
void verify_kernel(const Kernel& kernel);

}  // namespace espalier::codegen
