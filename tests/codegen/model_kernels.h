// The kernels of a model that tests compile for GPUs: those of its cells, and those of a step
// besides.
#pragma once

#include <set>
#include <span>
#include <vector>

#include "codegen/compiler.h"
#include "runtime/step/cell_kernels.h"
#include "training/optimizer.h"

namespace espalier::test {

/// As an engine on a GPU has them, without a library's products.
runtime::CellKernels gpu_modules(const ir::Program& program, codegen::Compiler& compiler);

/// For inference and training of all cells, and sums over readers.
std::set<const codegen::CompiledKernel*> cell_kernels(const ir::Program& program,
                                                      codegen::Compiler& compiler);

/// For all params at once, which the first may have by rows; the updates of each rule.
std::vector<codegen::Kernel> step_kernels(const ir::Program& program, codegen::Compiler& compiler,
                                          std::span<const UpdateRule> rules);

}  // namespace espalier::test
