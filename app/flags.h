// The flags that several verbs share: parsed by CLI11 into optionals, so that what the user did not
// say can be filled up by the recipe. Values that are names are checked while parsing, against the
// tables that the names come from.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/choices.h"
#include "app/recipes.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace espalier::app {

/// A flag whose value is one of `names`; anything else is a usage error that lists them and names
/// the nearest. `otherwise` is what the help says about a flag that is not given.
void add_choice(CLI::App& parser, const std::string& flag,
                std::function<void(const std::string& name)> take, std::string_view description,
                const std::vector<std::string>& names, std::string_view otherwise);
/// Takes the name itself, into a std::string or an optional one.
template <class Text>
void add_choice(CLI::App& parser, const std::string& flag, Text& value,
                std::string_view description, const std::vector<std::string>& names,
                std::string_view otherwise) {
  add_choice(
      parser, flag, [&value](const std::string& name) { value = name; }, description, names,
      otherwise);
}
/// Takes the value of a table's row, into a T or an optional one.
template <class T, std::size_t size, class Value>
void add_choice(CLI::App& parser, const std::string& flag, Value& value,
                std::string_view description, const Choice<T> (&table)[size],
                std::string_view otherwise) {
  add_choice(
      parser, flag, [&value, &table](const std::string& name) { value = *find_value(table, name); },
      description, names_of(table), otherwise);
}
template <class T, std::size_t size>
void add_choice(CLI::App& parser, const std::string& flag, T& value, std::string_view description,
                const Choice<T> (&table)[size]) {
  add_choice(parser, flag, value, description, table, name_of(table, value));
}

struct DataFlags {
  std::string spec;
  std::optional<int> examples, max_tokens;
  std::optional<std::uint64_t> seed;

  void add(CLI::App& parser);
  /// For a verb that has a saved model, whose own data can be named: `--data saved`.
  void add_with_saved(CLI::App& parser);
  bool is_saved() const { return spec == saved; }
  /// `base` where nothing was said; a fresh configuration for another data set than that of `base`.
  /// UsageError for flags that do not concern the data.
  DataConfig resolve(DataConfig base) const;

 private:
  static constexpr std::string_view saved = "saved";
  CLI::Option* add_spec(CLI::App& parser, const std::string& text);
  void add_rest(CLI::App& parser);
};

struct ModelFlags {
  std::string name{default_model()};
  std::optional<int> hidden, embed;
  std::optional<double> dropout;
  std::optional<models::LabelsAt> labels_at;

  void add(CLI::App& parser, bool with_dropout = true);
  void add_sizes(CLI::App& parser, bool with_dropout = true);
  void resolve(RunConfig& config) const;
};

/// How minibatches are recorded and scheduled: --strategy, --granularity, --share and --hoist.
void add_schedule_flags(CLI::App& parser, EngineOptions& options);
/// Those and all else that an engine is made with, the flags of a GPU included.
void add_engine_flags(CLI::App& parser, EngineOptions& options);

/// --target, for verbs that compile without an engine.
void add_target_flag(CLI::App& parser, std::string& target);

/// --batch
void add_batch_flag(CLI::App& parser, std::optional<int>& batch);

/// --allow-non-finite, for verbs that load weights.
void add_non_finite_flag(CLI::App& parser, NonFinite& value);

/// The option names a file or a folder: not empty, with ~ expanded, which a shell does where a word
/// begins but not behind `=` or `sst:`.
void take_path(CLI::Option& option, const std::string& text);

/// --json
void add_json_flag(CLI::App& parser, std::string& file);

}  // namespace espalier::app
