// The model zoo: one visible table that the command, the tests and the benches walk. A model is a
// header, a source and a row here; it is definitions only, whoever trains it owns the engine.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "models/tree_model.h"

namespace espalier::models {

/// Which trees a model takes: those whose inner nodes all have two children and no word of their
/// own; any; or the leaves of any tree without inner words, as one sequence.
enum class Reads : std::uint8_t { binary_trees, trees, sequences };

struct ModelInfo {
  std::string_view name, summary;
  std::unique_ptr<TreeModel> (*make)(const ModelOptions&);
  Reads reads = Reads::trees;
};

std::span<const ModelInfo> models();

/// UserError with the nearest name if there is none of that name.
const ModelInfo& find_model(std::string_view name);

}  // namespace espalier::models
