// A debug switch: the first NaN or Inf of a batch, with the cell, op and example it came from.
#pragma once

#include "runtime/step/binding.h"
#include "runtime/step/state_values.h"

namespace espalier::runtime {

/// Throws UserError if an output of the batch is NaN or Inf. The op is found by evaluating the
/// instance again in double precision; dropout masks count as ones there.
void check_finite(const Memory& memory, StateValues& values, const scheduler::PlacedBatch& batch);

}  // namespace espalier::runtime
