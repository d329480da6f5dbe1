// What the steps of one engine work on: the recorded minibatch and its layout, kernels, params,
// arenas, index arrays and the plan, on one device. Made by the engine; MinibatchRun runs steps on
// it and MemoryBudget watches its size.
#pragma once

#include <vector>

#include "runtime/step/backend.h"
#include "runtime/step/request.h"
#include "runtime/step/step_layout.h"

namespace espalier::runtime {

struct Workspace {
  /// All outlive this; `recorder` records calls of the cells of `source`.
  Workspace(const EngineOptions& options, const ir::Program& source, ir::Recorder& recorder,
            codegen::Compiler& compiler);

  /// The cells that are run.
  const ir::Program& program() const { return recorder.program(); }
  Memory memory() {
    return {program(), layout.graph(), layout.losses(), layout.layout(), arenas, params, indices};
  }
  StepRequest request(Gradients gradients) const { return {mode, gradients, layout.ran_batches()}; }
  bool on_device() const { return backend.executor->memory() != nullptr; }

  /// Arithmetic outside cells may bring gradients to a param that no cell gave any: `stored` is
  /// renewed if it did.
  void find_reached_params();

  const EngineOptions& options;
  const ir::Program& source;
  ir::Recorder& recorder;
  Mode mode = Mode::training;  // of the minibatch
  StepLayout layout;
  std::vector<StoredParam> stored;
  MemoryCounter fixed;  // params, gradients, and what the backend holds; not the arenas
  Backend backend;
  CellKernels kernels;
  ParamStore params;
  Arenas arenas;
  Indices indices;
  Plan plan;

 private:
  std::size_t cells_known_ = 0;  // when `stored` was made
};

}  // namespace espalier::runtime
