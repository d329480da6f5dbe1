// What a run needs, besides the params, to continue with the same bits: the engine's step, which
// keys dropout, and the optimizer's steps and state. One safetensors file beside the saved model.
#pragma once

#include <filesystem>

#include "runtime/engine.h"
#include "runtime/step/optimizer.h"

namespace espalier {

/// Prepares the optimizer for the engine's params if it has not taken a step. UserError if the
/// optimizer has no state to save or the file cannot be written.
void save_training_state(const std::filesystem::path& file, Engine& engine, Optimizer& optimizer);

/// Also for params that no gradient has reached in this engine so far. UserError if the state is
/// that of an optimizer with other rules or of other params: it lists all differences, and the
/// engine and the optimizer's steps are as before.
void restore_training_state(const std::filesystem::path& file, Engine& engine,
                            Optimizer& optimizer);

}  // namespace espalier
