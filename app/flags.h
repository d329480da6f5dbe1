// The flags that several verbs share: parsed by CLI11 into optionals, so that what the user did not
// say can be filled up by the recipe. Values that are names are checked while parsing, against the
// tables that the names come from.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/run_config.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace espalier::app {

/// A flag whose value is one of `names`; anything else is a usage error that lists them and names
/// the nearest. The help says what it is `otherwise`.
void add_choice(CLI::App& parser, const std::string& flag, std::string& value,
                std::string_view description, const std::vector<std::string>& names,
                std::string_view otherwise);
void add_choice(CLI::App& parser, const std::string& flag, std::optional<std::string>& value,
                std::string_view description, const std::vector<std::string>& names,
                std::string_view otherwise);

/// `[150; listops 128, conllu 256]`: what the recipes say, for the help.
template <class T>
std::string usual(T RunConfig::* member) {
  return fmt::format("[{}; listops {}, conllu {}]", recipe("sst:", "").*member,
                     recipe("listops", "").*member, recipe("conllu:", "").*member);
}

struct DataFlags {
  std::string spec;
  std::optional<int> examples, max_tokens;
  std::optional<std::uint64_t> seed;

  void add(CLI::App& parser);
  /// For a verb that has a saved model, whose own data can be named: `--data saved`.
  void add_with_saved(CLI::App& parser);
  bool is_saved() const { return spec == kSaved; }
  /// `base` where nothing was said; a fresh configuration for another data set than that of `base`.
  /// UsageError for flags that do not concern the data.
  DataConfig resolve(DataConfig base) const;

 private:
  static constexpr std::string_view kSaved = "saved";
  CLI::Option* add_spec(CLI::App& parser, const std::string& text);
  void add_rest(CLI::App& parser);
};

struct ModelFlags {
  std::string name = "tree_lstm";
  std::optional<int> hidden, embed;
  std::optional<double> dropout;
  std::optional<std::string> loss;

  void add(CLI::App& parser, bool with_dropout = true);
  void add_sizes(CLI::App& parser, bool with_dropout = true);
  void resolve(RunConfig& config) const;
};

/// A flag that is on or off.
void add_switch(CLI::App& parser, const std::string& flag, bool& value,
                std::string_view description);

/// How minibatches are recorded and scheduled: --strategy, --granularity, --share and --hoist.
void add_schedule_flags(CLI::App& parser, EngineConfig& config);
/// Those and all else that an engine is made with, the flags of a GPU included.
void add_engine_flags(CLI::App& parser, EngineConfig& config);

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

/// What the names in the tables are.
std::vector<std::string> model_names();
std::vector<std::string> strategy_names();

}  // namespace espalier::app
