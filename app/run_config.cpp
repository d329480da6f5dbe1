#include "app/run_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "app/choices.h"
#include "app/ranges.h"
#include "base/atomic_file.h"
#include "base/disk_cache.h"
#include "base/error.h"
#include "base/excerpt.h"
#include "codegen/compiler.h"
#include "data/formats.h"
#include "data/text_file.h"
#include "ir/record/recorder.h"
#include "models/models.h"

namespace espalier::app {
namespace {

namespace fs = std::filesystem;

/// Labels hold no white space: they were atoms of a bracket file.
std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    words.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

std::string_view model_of_any_tree() {
  return std::ranges::find(models::models(), models::Reads::trees, &models::ModelInfo::reads)->name;
}

}  // namespace

std::string absolute_spec(const std::string& spec) {
  const std::size_t path = spec.find(':') + 1;
  if (path == 0) return spec;  // generated
  std::error_code error;
  const fs::path absolute = fs::absolute(spec.substr(path), error);
  user_check(!error, "--data {}: cannot find the working directory: {}", spec, error.message());
  return spec.substr(0, path) + absolute.lexically_normal().string();
}

data::Dataset load(const DataConfig& config, std::string_view model, data::LoadOptions options) {
  const models::Reads reads = models::find_model(model).reads;
  options.treebank.binary = reads == models::Reads::binary_trees;
  options.treebank.binary_reason =
      fmt::format("{} reads binary trees only, {} any", model, model_of_any_tree());
  options.conllu = reads == models::Reads::sequences ? data::conllu::Structure::sequence
                                                     : data::conllu::Structure::dependencies;
  options.listops.seed = config.seed;
  options.listops.max_tokens = config.max_tokens;
  if (config.examples > 0) options.listops.count = config.examples;
  data::Dataset dataset = data::load_dataset(config.spec, options);
  user_check(dataset.classes > 0, "{}: found no tree with a label, expected labels to learn",
             config.spec);
  const auto limit = static_cast<std::size_t>(config.examples);
  if (!config.generated() && limit > 0 && dataset.train.size() > limit) dataset.train.resize(limit);
  return dataset;
}

bool DataConfig::generated() const {
  const data::Format* const format = data::find_format(spec);
  return format && format->generated();
}

EngineOptions default_engine() {
  EngineOptions options;
  options.device = Device::automatic;
  options.threads = 0;
  options.cache_directory = default_cache_directory();
  return options;
}

ir::RecordOptions record_options(const EngineOptions& options) {
  return {.granularity = options.granularity, .share = options.share, .hoist = options.hoist};
}

std::string_view default_model() { return models::models().front().name; }

models::ModelOptions model_options(const RunConfig& config, const data::Dataset& dataset) {
  return {.vocabulary = dataset.vocabulary.size(),
          .embed = config.embed,
          .hidden = config.hidden,
          .classes = dataset.classes,
          .dropout = config.dropout,
          .labels_at = config.labels_at};
}

OptimizerOptions optimizer_options(const RunConfig& config) {
  OptimizerOptions options{.rule = update_rule(config.optimizer), .clip_norm = config.clip};
  options.rule.lr = config.lr;
  options.rule.momentum = config.momentum;
  options.rule.l2 = config.l2;
  const std::string embedding = "embed";
  set_embeddings(options, {&embedding, 1}, config.embed_lr);
  return options;
}

nlohmann::ordered_json to_json(const EngineOptions& options) {
  return {{"strategy", options.strategy},
          {"granularity", name_of(granularities, options.granularity)},
          {"share", options.share},
          {"hoist", options.hoist},
          {"threads", options.threads},
          {"target", options.target},
          {"device", name_of(devices, options.device)},
          {"contractions", name_of(contraction_choices, options.contractions)},
          {"precision", name_of(precisions, options.precision)},
          {"persistent", name_of(persistent_choices, options.persistent)},
          {"cuda_graphs", options.debug.cuda_graphs},
          {"memory_limit", options.memory_limit},
          {"check_finite", options.debug.check_finite},
          {"check_launches", options.debug.check_launches}};
}

nlohmann::ordered_json to_json(const RunConfig& config) {
  nlohmann::ordered_json json = {{"model", config.model},
                                 {"data", config.data.spec},
                                 {"examples", config.data.examples},
                                 {"max_tokens", config.data.max_tokens},
                                 {"data_seed", config.data.seed},
                                 {"hidden", config.hidden},
                                 {"embed", config.embed},
                                 {"dropout", config.dropout},
                                 {"loss", name_of(label_places, config.labels_at)},
                                 {"batch", config.batch},
                                 {"epochs", config.epochs},
                                 {"patience", config.patience},
                                 {"optimizer", config.optimizer},
                                 {"lr", config.lr},
                                 {"momentum", config.momentum},
                                 {"embed_lr", nullptr},
                                 {"l2", config.l2},
                                 {"clip", config.clip},
                                 {"lr_schedule", config.schedule.kind},
                                 {"warmup_steps", config.schedule.warmup_steps},
                                 {"seed", config.seed}};
  if (config.embed_lr) json["embed_lr"] = *config.embed_lr;
  json.update(to_json(config.engine));
  return json;
}

Settings saved_settings(const RunConfig& config, const data::Dataset& dataset) {
  const std::string spec = absolute_spec(config.data.spec);
  const std::size_t bad = data::find_not_utf8(spec);
  user_check(
      bad == spec.npos,
      "--data {}: found byte 0x{:02X} in the path, expected UTF-8, for a saved model names its "
      "data; rename it, or train without --save",
      spec, static_cast<unsigned char>(spec[std::min(bad, spec.size())]));
  const auto number = [](auto value) { return static_cast<std::int64_t>(value); };
  return {{"vocabulary", number(dataset.vocabulary.size())},
          {"embed", number(config.embed)},
          {"hidden", number(config.hidden)},
          {"classes", number(dataset.classes)},
          {"dropout", config.dropout},
          {"loss", std::string(name_of(label_places, config.labels_at))},
          {"data", spec},
          {"examples", number(config.data.examples)},
          {"max_tokens", number(config.data.max_tokens)},
          {"data_seed", std::to_string(config.data.seed)},
          {"label_names", fmt::format("{}", fmt::join(dataset.label_names, " "))},
          {"batch", number(config.batch)}};
}

namespace {

models::LabelsAt saved_labels_at(std::string_view name) {
  const models::LabelsAt* const found = find_value(label_places, name);
  user_check(found, "setting 'loss': found '{}', expected one of {}", excerpt(name),
             fmt::join(names_of(label_places), ", "));
  return *found;
}

SavedRun read_saved_run(const SavedModel& saved) {
  // The file may be anybody's: what a flag would refuse is refused here.
  const auto within = [](const auto& range, std::string_view name, auto value) {
    user_check(range.contains(value), "setting '{}': found {}, expected {} to {}", name, value,
               range.low, range.high);
    return value;
  };
  const auto number = [&](std::string_view name, const Range<std::int64_t>& range) {
    const std::int64_t value = setting<std::int64_t>(saved.settings, name);
    return static_cast<int>(within(range, name, value));
  };
  const auto text = [&](std::string_view name) {
    return setting<std::string>(saved.settings, name);
  };
  const std::string seed_text = text("data_seed");
  std::int64_t seed = 0;
  const char* const end = seed_text.data() + seed_text.size();
  const auto [read, error] = std::from_chars(seed_text.data(), end, seed);
  user_check(error == std::errc() && read == end,
             "setting 'data_seed': found '{}', expected a number", excerpt(seed_text));

  const std::string data = text("data");
  constexpr std::size_t longest = 4096;  // PATH_MAX
  const auto is_control = [](char c) { return (c >= 0 && c < ' ') || c == 0x7F; };
  user_check(data.size() <= longest && std::ranges::none_of(data, is_control),
             "setting 'data': found '{}', expected at most {} bytes without control characters",
             excerpt(data), longest);

  SavedRun run;
  run.model = {
      .vocabulary = number("vocabulary", vocabulary_range),
      .embed = number("embed", embed_range),
      .hidden = number("hidden", hidden_range),
      .classes = number("classes", classes_range),
      .dropout = within(dropout_range, "dropout", setting<double>(saved.settings, "dropout")),
      .labels_at = saved_labels_at(text("loss"))};
  run.data = {.spec = data,
              .examples = number("examples", {0, examples_range.high}),  // 0: all
              .max_tokens = number("max_tokens", max_tokens_range),
              .seed = static_cast<std::uint64_t>(within(seed_range, "data_seed", seed))};
  run.batch = number("batch", batch_range);
  run.load.treebank.label_names = split_words(text("label_names"));
  if (run.load.treebank.label_names.empty()) run.load.treebank.classes = run.model.classes;
  if (!saved.vocabulary.empty())
    run.load.vocabulary = data::Vocabulary::parse(data::text_file(
        saved.vocabulary.string(), read_whole_file(saved.vocabulary, Links::refuse)));
  return run;
}

}  // namespace

SavedRun saved_run(const SavedModel& saved, const std::string& folder) {
  try {
    return read_saved_run(saved);
  } catch (const UserError& error) {
    throw UserError(fmt::format("{}: {}", folder, error.what()));
  }
}

}  // namespace espalier::app
