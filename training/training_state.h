// What a run needs to go on to the same bits, besides the params: the engine's step, which keys
// dropout, and the optimizer's steps and state. One safetensors file beside the saved model.
#pragma once

#include <filesystem>

#include "runtime/engine.h"
#include "training/optimizer.h"

namespace espalier {

/// The optimizer is prepared for the engine's params if it has not taken a step. UserError if the
/// file cannot be written.
void save_training_state(const std::filesystem::path& file, Engine& engine,
                         StandardOptimizer& optimizer);

/// UserError, which lists all differences, if the state is that of an optimizer with other rules or
/// of other params; nothing has changed then.
void restore_training_state(const std::filesystem::path& file, Engine& engine,
                            StandardOptimizer& optimizer);

}  // namespace espalier
