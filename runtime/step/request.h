// What an engine is asked to do with the batches that are laid out. Made by the engine, passed to
// whatever plans, forecasts or runs a step.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/step/options.h"

namespace espalier::runtime {

enum class Gradients : std::uint8_t {
  none,   ///< only the forward direction runs
  first,  ///< replace those of the step before
  more,   ///< are added to those so far: of earlier parts or accumulated minibatches
};

struct StepRequest {
  Mode mode = Mode::training;
  Gradients gradients = Gradients::none;
  std::size_t first_batch = 0;  ///< batches before it have run forward; their rows are kept

  bool backward() const { return gradients != Gradients::none; }
  bool accumulates() const { return gradients == Gradients::more; }
};

}  // namespace espalier::runtime
