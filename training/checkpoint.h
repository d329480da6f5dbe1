// A trained model in a run folder: `model.safetensors` beside `model.json` (program text and
// hyper-parameters) and `vocab.txt` (a token a line, line number = id). Written by the loop and the
// command, read back by `espalier eval`. They appear together or not at all
// (training/run_folder.h); the weights carry a fingerprint of the other two, so that files of
// different models are never taken together.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ir/program.h"
#include "training/safetensors.h"

namespace espalier {

class Engine;
class Optimizer;
class RunFolder;

/// Hyper-parameters by name: what is needed to build the model and its data again.
using Setting = std::variant<bool, std::int64_t, double, std::string>;
using Settings = std::map<std::string, Setting>;

struct SavedModel {
  std::string name;                  ///< of the model, as `--model` takes it
  std::string program;               ///< its text
  Settings settings;                 ///< numbers are finite
  std::filesystem::path vocabulary;  ///< where vocab.txt was found; empty if there is none
};

/// Saves a model into `folder`, which is made where it is missing and locked meanwhile. An empty
/// `vocabulary` means none. `metadata` joins that of the weights. UserError if another process
/// saves into the folder or something cannot be written; a model that is there is then still the
/// old one, as it is if the process is killed before all of the new one is on disk.
void save_model(const std::filesystem::path& folder, const SavedModel& model,
                std::span<const std::string> vocabulary, std::span<const SafeTensor> weights,
                const SafetensorsMetadata& metadata = {});

/// The same into a folder that the caller has locked, for a whole run for example. The texts
/// `beside`, by the name of their file, appear together with the model.
void save_model(const RunFolder& folder, const SavedModel& model,
                std::span<const std::string> vocabulary, std::span<const SafeTensor> weights,
                const SafetensorsMetadata& metadata = {},
                const std::map<std::string, std::string>& beside = {});

/// Whether a model would be replaced by saving one there.
bool holds_model(const std::filesystem::path& folder);

/// UserError for a model that save_model would refuse, before there are weights: a text that is not
/// UTF-8, a setting that is not finite, a token with a line break.
void check_savable(const SavedModel& model, std::span<const std::string> vocabulary);

/// Reads model.json. UserError naming file, found and expected for anything that save_model would
/// not have written, such as a link in place of a file.
SavedModel load_model(const std::filesystem::path& folder);
/// The same for the text of that file; its `vocabulary` is the bare name.
SavedModel read_model(std::string_view text, const std::filesystem::path& file);

/// What becomes of weights among which some are NaN or infinite: a model with such predicts nothing
/// that means anything.
enum class NonFinite : std::uint8_t { refuse, allow };

/// The values of all `params` in their order, from the weights in `folder`. UserError if they were
/// saved with another model.json or vocab.txt than those that are there, and as read_params.
std::vector<std::vector<float>> load_weights(const std::filesystem::path& folder,
                                             std::span<const ir::Param> params,
                                             NonFinite non_finite = NonFinite::refuse);

/// The same from any file, by name. UserError that lists all differences in names, shapes and types
/// if the tensors are not exactly the params; unless allowed, one that names the first element that
/// is not finite as a float.
std::vector<std::vector<float>> read_params(const Safetensors& weights,
                                            std::span<const ir::Param> params,
                                            NonFinite non_finite = NonFinite::refuse);

/// The setting `name`. UserError, with the nearest name, if it is not there or not of type T.
template <class T>
const T& setting(const Settings& settings, std::string_view name);
extern template const bool& setting<bool>(const Settings&, std::string_view);
extern template const std::int64_t& setting<std::int64_t>(const Settings&, std::string_view);
extern template const double& setting<double>(const Settings&, std::string_view);
extern template const std::string& setting<std::string>(const Settings&, std::string_view);

/// Saves what a run needs besides the params to continue to the same bits: the engine's step, which
/// keys dropout, and the optimizer's steps and state. One safetensors file. Calls Engine::prepare
/// if the optimizer has not taken a step. UserError if the optimizer has no state to save or the
/// file cannot be written.
void save_training_state(const std::filesystem::path& file, Engine& engine, Optimizer& optimizer);

/// Also restores the state of params that no gradient has reached in this engine so far. UserError,
/// listing all differences, if the state is that of an optimizer with other rules or of other
/// params; the engine and the optimizer's steps are then as before.
void restore_training_state(const std::filesystem::path& file, Engine& engine,
                            Optimizer& optimizer);

}  // namespace espalier
