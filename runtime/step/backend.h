// The three parts that run steps on one device. Made for the engine by runtime/cpu or runtime/cuda.
#pragma once

#include <memory>

#include "runtime/step/executor.h"
#include "runtime/step/step_io.h"
#include "runtime/step/update.h"

namespace espalier::runtime {

struct Backend {
  std::unique_ptr<Executor> executor;  // outlives the others, which use it
  std::unique_ptr<StepIo> io;
  std::unique_ptr<Update> update;
};

}  // namespace espalier::runtime
