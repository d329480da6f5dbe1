// The executor of an NVIDIA GPU. Everything of a step is noted down and sent off when its result is
// asked for, which is the only time that the host waits.
#pragma once

#include <memory>

#include "codegen/compiler.h"
#include "runtime/step/buffer.h"
#include "runtime/step/executor.h"
#include "runtime/step/options.h"

namespace espalier::runtime {

/// On the first GPU, with kernels of `compiler`, whose target is that GPU's. UserError if there is
/// none. Both outlive the executor; so do `stored` and `counter`.
std::unique_ptr<Executor> make_cuda_executor(const ir::Program& program,
                                             const std::vector<StoredParam>& stored,
                                             MemoryCounter& counter, codegen::Compiler& compiler,
                                             const EngineOptions& options);

/// The target of the first GPU, such as "sm_90". UserError if there is none.
std::string cuda_architecture();

}  // namespace espalier::runtime
