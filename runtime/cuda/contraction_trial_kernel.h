// The kernel that a trial times: it contracts like the cells that have this shape, and does little
// else. Made and used by contraction_trial.cpp.
#pragma once

#include "codegen/compiler.h"
#include "codegen/kernel/library_calls.h"

namespace espalier::runtime {

/// A contraction whose rows are gathered by index and whose epilogue sums the tanh of all gates;
/// or, for a shape over rows, a weight gradient.
codegen::Kernel trial_kernel(const codegen::ContractionShape& shape, const codegen::Target& target);

}  // namespace espalier::runtime
