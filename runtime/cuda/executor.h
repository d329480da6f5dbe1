// Runs steps on an NVIDIA GPU. The whole step is noted down and sent when its result is asked for,
// which is the only time that the host waits.
#pragma once

#include <string>
#include <vector>

#include "codegen/compiler.h"
#include "runtime/step/backend.h"
#include "runtime/step/buffer.h"
#include "runtime/step/options.h"

namespace espalier::runtime {

/// On the first GPU, with kernels of `compiler`, whose target is that GPU's. UserError if there is
/// none. `compiler`, `stored` and `counter` outlive it.
Backend make_cuda_backend(const std::vector<StoredParam>& stored, MemoryCounter& counter,
                          codegen::Compiler& compiler, const EngineOptions& options);

/// The target of the first GPU, such as "sm_90". UserError if there is none.
std::string cuda_architecture();

}  // namespace espalier::runtime
