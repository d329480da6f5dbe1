// Gradients of a minibatch that does not fit under the memory limit as a whole: it is split at
// examples until each part fits, and the parts' gradients are added up. Called by the engine.
#pragma once

#include "runtime/minibatch_run.h"

namespace espalier::runtime {

/// Runs the parts in order, then selects the whole again, of which no values are left.
/// `first_gradients` are those of the first part; the others add to it. UserError if a single
/// example does not fit.
void run_in_parts(Workspace& workspace, MemoryBudget& budget, MinibatchRun& run,
                  Gradients first_gradients, double scale, StepStatistics& statistics);

}  // namespace espalier::runtime
