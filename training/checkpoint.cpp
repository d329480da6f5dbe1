#include "training/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/excerpt.h"
#include "base/hash.h"
#include "training/run_folder.h"
#include "training/strict_json.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kModelFile = "model.json";
constexpr const char* kWeightsFile = "model.safetensors";
constexpr const char* kVocabularyFile = "vocab.txt";
constexpr const char* kFormat = "espalier-model";
constexpr int kVersion = 1;
constexpr const char* kFingerprint = "espalier.model";
constexpr int kMaxDepth = 16;  // of JSON
constexpr std::size_t kMostDifferences = 20;

/// FNV-1a (64 bits, in hex) of the program's text and the vocabulary file.
std::string fingerprint(std::string_view program, std::string_view vocabulary) {
  const std::uint64_t begin = fnv1a(std::string_view("\0", 1), fnv1a(program));
  return fmt::format("{:016x}", fnv1a(vocabulary, begin));
}

std::string vocabulary_text(std::span<const std::string> tokens) {
  std::string text;
  for (const std::string& token : tokens) {
    user_check(!token.empty() && token.find_first_of("\r\n") == token.npos,
               "vocabulary: token {} is empty or holds a line break", &token - tokens.data());
    text += token;
    text += '\n';
  }
  return text;
}

ordered_json setting_to_json(const std::string& name, const Setting& setting) {
  if (const double* number = std::get_if<double>(&setting))
    user_check(std::isfinite(*number), "setting '{}': found {}, expected a finite number", name,
               *number);
  return std::visit([](const auto& value) { return ordered_json(value); }, setting);
}

/// The program is kept line by line, for those who read or compare the file.
std::string model_text(const SavedModel& model, bool vocabulary) {
  ordered_json lines = ordered_json::array();
  std::string_view rest = model.program;
  for (std::size_t end; (end = rest.find('\n')) != rest.npos; rest.remove_prefix(end + 1))
    lines.push_back(rest.substr(0, end));
  lines.push_back(rest);

  ordered_json settings = ordered_json::object();
  for (const auto& [name, value] : model.settings) settings[name] = setting_to_json(name, value);
  ordered_json document = {{"format", kFormat},    {"version", kVersion},   {"model", model.name},
                           {"settings", settings}, {"vocabulary", nullptr}, {"program", lines}};
  if (vocabulary) document["vocabulary"] = kVocabularyFile;
  try {
    return document.dump(2) + '\n';
  } catch (const ordered_json::exception& error) {
    throw UserError(
        fmt::format("{}: found a text that is not UTF-8: {}", kModelFile, error.what()));
  }
}

/// Leaves a file alone that says the same already, as all but the weights do in every epoch.
void draft_if_changed(const fs::path& file, std::string_view text, std::vector<Draft>& drafts) {
  std::error_code error;
  if (fs::is_regular_file(fs::symlink_status(file, error)) &&
      fs::file_size(file, error) == text.size() && read_whole_file(file, Links::refuse) == text)
    return;
  drafts.emplace_back(file, std::span(&text, 1));
}

/// Takes model.json apart; `fail` names the file.
class ModelReader {
 public:
  ModelReader(std::string_view text, const fs::path& file)
      : file_(file.string()), document_(parse_json(text, kMaxDepth, file_, "text")) {
    if (!document_.is_object() || !document_.contains("format") || document_["format"] != kFormat)
      fail("found no \"format\": \"{}\", expected a model saved by espalier", kFormat);
    const json& version = member("version");
    if (version != kVersion)
      fail("found version {}, expected {} (is it of a newer espalier?)", shown(version), kVersion);
    constexpr std::array<std::string_view, 6> kKeys = {"format",   "version",    "model",
                                                       "settings", "vocabulary", "program"};
    for (const auto& [key, value] : document_.items())
      if (std::ranges::find(kKeys, key) == kKeys.end())
        fail("found the key '{}', expected one of {}; nearest: '{}'", excerpt(key),
             fmt::join(kKeys, ", "), nearest_name(key, kKeys));
  }

  template <class... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> message, Args&&... args) const {
    throw UserError(file_ + ": " + fmt::format(message, std::forward<Args>(args)...));
  }

  std::string name() const {
    if (!member("model").is_string()) fail("found a model that is not a string, expected its name");
    return member("model").get<std::string>();
  }

  std::string program() const {
    const json& lines = member("program");
    const auto is_string = [](const json& line) { return line.is_string(); };
    if (!lines.is_array() || !std::ranges::all_of(lines, is_string))
      fail("found a program that is not a list of strings, expected its lines");
    return fmt::format("{}", fmt::join(lines.get<std::vector<std::string>>(), "\n"));
  }

  Settings settings() const {
    if (!member("settings").is_object()) fail("found settings that are no object, expected one");
    Settings result;
    for (const auto& [name, value] : member("settings").items()) {
      if (value.is_boolean())
        result[name] = value.get<bool>();
      else if (value.is_number_float())
        result[name] = value.get<double>();
      else if (value.is_number_integer() &&
               (!value.is_number_unsigned() || value.get<std::uint64_t>() <= INT64_MAX))
        result[name] = value.get<std::int64_t>();
      else if (value.is_string())
        result[name] = value.get<std::string>();
      else
        fail("found a setting '{}' that is none of boolean, number and string", excerpt(name));
    }
    return result;
  }

  bool has_vocabulary() const {
    const json& file = member("vocabulary");
    if (file.is_null()) return false;
    if (file != kVocabularyFile)
      fail("found vocabulary {}, expected null or \"{}\"", shown(file), kVocabularyFile);
    return true;
  }

 private:
  const json& member(const char* key) const {
    const auto found = document_.find(key);
    if (found == document_.end()) fail("found no \"{}\", expected it", key);
    return *found;
  }

  std::string file_;
  json document_;
};

/// Where element `position` of a tensor in C order lies, as `[3, 0]`.
std::string element_text(const ir::Shape& shape, std::int64_t position) {
  std::vector<std::int64_t> index;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    index.insert(index.begin(), position % shape[axis]);
    position /= shape[axis];
  }
  return fmt::format("[{}]", fmt::join(index, ", "));
}

void check_finite(const fs::path& file, const ir::Param& param, std::span<const float> values) {
  const auto bad = std::ranges::find_if_not(values, [](float x) { return std::isfinite(x); });
  if (bad == values.end()) return;
  throw UserError(fmt::format(
      "{}: param '{}': found {} at {}, expected finite numbers (--allow-non-finite loads what is "
      "there)",
      file.string(), param.name, *bad, element_text(param.shape, bad - values.begin())));
}

}  // namespace

void save_model(const fs::path& folder, const SavedModel& model,
                std::span<const std::string> vocabulary, std::span<const SafeTensor> weights,
                const SafetensorsMetadata& metadata) {
  check_savable(model, vocabulary);
  save_model(RunFolder(folder), model, vocabulary, weights, metadata);
}

void save_model(const RunFolder& folder, const SavedModel& model,
                std::span<const std::string> vocabulary, std::span<const SafeTensor> weights,
                const SafetensorsMetadata& metadata,
                const std::map<std::string, std::string>& beside) {
  const std::string tokens = vocabulary_text(vocabulary);
  const std::string text = model_text(model, !vocabulary.empty());
  SafetensorsMetadata all = metadata;
  all["format"] = "pt";
  all[kFingerprint] = fingerprint(model.program, tokens);
  // A full disk is met before anything has changed: the files of two models are no model.
  std::vector<Draft> drafts;
  for (const auto& [name, content] : beside)
    draft_if_changed(folder.path() / name, content, drafts);
  if (!vocabulary.empty()) draft_if_changed(folder.path() / kVocabularyFile, tokens, drafts);
  draft_if_changed(folder.path() / kModelFile, text, drafts);
  drafts.push_back(draft_safetensors(folder.path() / kWeightsFile, weights, all));
  folder.publish(drafts);
}

bool holds_model(const fs::path& folder) {
  std::error_code error;
  return fs::exists(fs::symlink_status(folder / kModelFile, error)) ||
         fs::exists(fs::symlink_status(folder / kWeightsFile, error));
}

void check_savable(const SavedModel& model, std::span<const std::string> vocabulary) {
  vocabulary_text(vocabulary);
  model_text(model, !vocabulary.empty());
}

SavedModel load_model(const fs::path& folder) {
  const fs::path file = current_file(folder, kModelFile);
  SavedModel model = read_model(read_whole_file(file, Links::refuse), file);
  if (!model.vocabulary.empty()) model.vocabulary = current_file(folder, model.vocabulary.string());
  return model;
}

SavedModel read_model(std::string_view text, const fs::path& file) {
  const ModelReader reader(text, file);
  return {.name = reader.name(),
          .program = reader.program(),
          .settings = reader.settings(),
          .vocabulary = reader.has_vocabulary() ? kVocabularyFile : ""};
}

std::vector<std::vector<float>> load_weights(const fs::path& folder,
                                             std::span<const ir::Param> params,
                                             NonFinite non_finite) {
  const SavedModel model = load_model(folder);
  const std::string tokens =
      model.vocabulary.empty() ? std::string() : read_whole_file(model.vocabulary, Links::refuse);
  const fs::path file = current_file(folder, kWeightsFile);
  const Safetensors weights(file, read_whole_file(file, Links::refuse));
  const auto saved_with = weights.metadata().find(kFingerprint);
  // Weights that another tool wrote carry none.
  if (saved_with != weights.metadata().end())
    user_check(saved_with->second == fingerprint(model.program, tokens),
               "{}: found weights that were saved with another {} or {} than those beside it",
               weights.file().string(), kModelFile, kVocabularyFile);
  return read_params(weights, params, non_finite);
}

std::vector<std::vector<float>> read_params(const Safetensors& weights,
                                            std::span<const ir::Param> params,
                                            NonFinite non_finite) {
  std::vector<std::string> differences;
  std::set<std::string_view> wanted;
  std::vector<std::vector<float>> values;
  for (const ir::Param& param : params) {
    wanted.insert(param.name);
    std::vector<std::int64_t> shape;
    for (int axis = 0; axis < param.shape.rank(); ++axis) shape.push_back(param.shape[axis]);
    const SafeTensor* tensor = weights.find(param.name);
    const std::string expected = fmt::format("F32[{}]", fmt::join(shape, ", "));
    if (!tensor)
      differences.push_back(fmt::format("'{}': found none, expected {}", param.name, expected));
    else if (tensor->shape != shape || (tensor->dtype != "F32" && tensor->dtype != "F64" &&
                                        tensor->dtype != "F16" && tensor->dtype != "BF16"))
      differences.push_back(
          fmt::format("'{}': found {}, expected {}", param.name, type_text(*tensor), expected));
    else
      values.push_back(weights.floats(*tensor));
  }
  for (const SafeTensor& tensor : weights.tensors())
    if (!wanted.contains(tensor.name))
      differences.push_back(fmt::format("'{}': found {}, expected no such param",
                                        excerpt(tensor.name), type_text(tensor)));
  if (differences.size() > kMostDifferences) {
    const std::size_t more = differences.size() - kMostDifferences;
    differences.resize(kMostDifferences);
    differences.push_back(fmt::format("and {} more", more));
  }
  user_check(differences.empty(), "{}: the weights are not those of the program\n  {}",
             weights.file().string(), fmt::join(differences, "\n  "));
  if (non_finite == NonFinite::refuse)
    for (std::size_t i = 0; i < params.size(); ++i)
      check_finite(weights.file(), params[i], values[i]);
  return values;
}

template <class T>
const T& setting(const Settings& settings, std::string_view name) {
  std::vector<std::string_view> names;
  for (const auto& [key, value] : settings) names.push_back(key);
  const auto found = settings.find(std::string(name));
  user_check(found != settings.end(), "settings: found no '{}'; nearest: '{}'", name,
             nearest_name(name, names));
  const T* value = std::get_if<T>(&found->second);
  user_check(value != nullptr, "setting '{}': found a value of another type", name);
  return *value;
}
template const bool& setting<bool>(const Settings&, std::string_view);
template const std::int64_t& setting<std::int64_t>(const Settings&, std::string_view);
template const double& setting<double>(const Settings&, std::string_view);
template const std::string& setting<std::string>(const Settings&, std::string_view);

}  // namespace espalier
