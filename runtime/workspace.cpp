#include "runtime/workspace.h"

#include <utility>

#include "runtime/cpu/executor.h"
#include "runtime/cuda/executor.h"

namespace espalier::runtime {

Workspace::Workspace(const EngineOptions& options, const ir::Program& source,
                     ir::Recorder& recorder, codegen::Compiler& compiler)
    : options(options),
      source(source),
      recorder(recorder),
      layout(recorder, options),
      stored(stored_params(source)),
      backend(options.device == Device::cuda ? make_cuda_backend(stored, fixed, compiler, options)
                                             : make_cpu_backend(stored, fixed, options.threads)),
      kernels(program(), compiler, options.debug.verify, backend.executor->form()),
      params(program(), options.seed, fixed, backend.executor->memory()),
      arenas(backend.executor->memory()),
      cells_known_(source.cells.size()) {}

void Workspace::find_reached_params() {
  if (const std::size_t cells = source.cells.size(); cells != std::exchange(cells_known_, cells))
    stored = stored_params(source);
}

}  // namespace espalier::runtime
