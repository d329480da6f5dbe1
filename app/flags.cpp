#include "app/flags.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "app/commands.h"
#include "app/ranges.h"
#include "base/error.h"
#include "codegen/cpu/host_targets.h"
#include "codegen/kernel/target.h"
#include "data/formats.h"
#include "models/models.h"
#include "scheduler/strategy.h"

namespace espalier::app {
namespace {

CLI::Validator one_of(std::vector<std::string> names) {
  const auto check = [names](const std::string& name) {
    const std::vector<std::string_view> views(names.begin(), names.end());
    for (const std::string_view known : views)
      if (known == name) return std::string();
    return fmt::format("found '{}', expected one of {}; nearest: '{}'", name,
                       fmt::join(names, ", "), nearest_name(name, views));
  };
  return CLI::Validator(check, "");
}

/// What is wrong with the form of a data set's name; whether it exists is found when it is read.
std::string data_form(const std::string& spec) {
  if (data::find_format(spec)) return {};
  return fmt::format("found '{}', expected {}", spec, data::format_list());
}

void expand_home(std::string& text, std::size_t path) {
  const char* home = std::getenv("HOME");
  const std::string_view rest = std::string_view(text).substr(path);
  if (home && (rest == "~" || rest.starts_with("~/"))) text.replace(path, 1, home);
}

std::string expand_home_of_data(std::string& spec) {
  if (const std::size_t path = spec.find(':') + 1; path > 0) expand_home(spec, path);
  return {};
}

std::string data_text() {
  std::string text;
  for (const data::Format& format : data::formats())
    text += fmt::format("{}: {}\n", format.form(), format.summary);
  return text +
         "A single file is split: its last tenth is test, the tenth before it dev, the rest train";
}

}  // namespace

void add_choice(CLI::App& parser, const std::string& flag,
                std::function<void(const std::string& name)> take, std::string_view description,
                const std::vector<std::string>& names, std::string_view otherwise) {
  parser
      .add_option_function<std::string>(
          flag, std::move(take),
          fmt::format("{}: {} [{}]", description, fmt::join(names, ", "), otherwise))
      ->check(one_of(names))
      ->option_text("NAME");
}

void DataFlags::add(CLI::App& parser) {
  add_spec(parser, data_text())->check(CLI::Validator(data_form, ""))->required();
  add_rest(parser);
}

void DataFlags::add_with_saved(CLI::App& parser) {
  const auto form = [](const std::string& text) {
    return text == saved ? std::string() : data_form(text);
  };
  add_spec(parser, fmt::format("{}\n{}: what the model was trained on", data_text(), saved))
      ->check(CLI::Validator(form, ""));
  add_rest(parser);
}

CLI::Option* DataFlags::add_spec(CLI::App& parser, const std::string& text) {
  return parser.add_option("--data", spec, text)
      ->transform(CLI::Validator(expand_home_of_data, ""))
      ->option_text("DATA");
}

void DataFlags::add_rest(CLI::App& parser) {
  parser
      .add_option("--examples", examples,
                  fmt::format("use at most so many training trees [all]; listops: generate so many "
                              "expressions [{}]",
                              generated_examples))
      ->check(whole(examples_range))
      ->option_text("N");
  parser
      .add_option("--max-tokens", max_tokens, "listops: most tokens of a generated expression [60]")
      ->check(whole(max_tokens_range))
      ->option_text("N");
  parser.add_option("--data-seed", seed, "listops: seed of the generator [42]")
      ->check(whole(seed_range))
      ->option_text("N");
}

DataConfig DataFlags::resolve(DataConfig base) const {
  const bool another =
      !spec.empty() && !is_saved() && absolute_spec(spec) != absolute_spec(base.spec);
  if (another) base = {.spec = spec};
  if (!base.generated() && (max_tokens || seed))
    throw UsageError(fmt::format("{} is for '--data listops', which is generated; found '{}'",
                                 max_tokens ? "--max-tokens" : "--data-seed", base.spec));
  base.examples = examples.value_or(base.examples);
  base.max_tokens = max_tokens.value_or(base.max_tokens);
  base.seed = seed.value_or(base.seed);
  return base;
}

void ModelFlags::add_sizes(CLI::App& parser, bool with_dropout) {
  parser.add_option("--hidden", hidden, "elements of a state " + usual(&RunConfig::hidden))
      ->check(whole(hidden_range))
      ->option_text("N");
  parser.add_option("--embed", embed, "elements of a word vector " + usual(&RunConfig::embed))
      ->check(whole(embed_range))
      ->option_text("N");
  if (!with_dropout) return;
  parser
      .add_option(
          "--dropout", dropout,
          "probability of dropping an element before the softmax " + usual(&RunConfig::dropout))
      ->check(real(dropout_range))
      ->option_text("P");
}

void ModelFlags::add(CLI::App& parser, bool with_dropout) {
  add_choice(parser, "--model", name, "the model", names_of(models::models()), name);
  add_sizes(parser, with_dropout);
  add_choice(parser, "--loss", labels_at, "which labels are learned", label_places,
             "root for listops; for models of sequences root, but every-node for conllu; else "
             "every-node");
}

void ModelFlags::resolve(RunConfig& config) const {
  config.hidden = hidden.value_or(config.hidden);
  config.embed = embed.value_or(config.embed);
  config.dropout = dropout.value_or(config.dropout);
  config.labels_at = labels_at.value_or(config.labels_at);
}

void add_schedule_flags(CLI::App& parser, EngineOptions& options) {
  add_choice(parser, "--strategy", options.strategy, "how calls are put into batches",
             names_of(scheduler::strategies()), options.strategy);
  add_choice(parser, "--granularity", options.granularity, "one instance per call, or per op",
             granularities);
  add_choice(parser, "--share", options.share, "run equal calls once per minibatch", switches);
  add_choice(parser, "--hoist", options.hoist, "run what depends on no state as one batch",
             switches);
}

void add_target_flag(CLI::App& parser, std::string& target) {
  add_choice(parser, "--target", target, "what to compile for", names_of(codegen::host_targets()),
             "the first");
}

void add_engine_flags(CLI::App& parser, EngineOptions& options) {
  add_schedule_flags(parser, options);
  parser.add_option("--threads", options.threads, "threads on the CPU; 0: one per core [0]")
      ->check(whole(0, 1024))
      ->option_text("N");
  add_target_flag(parser, options.target);
  add_choice(parser, "--device", options.device, "where to run", devices);
  parser
      .add_option("--memory-limit", options.memory_limit,
                  "most bytes that the engine may hold, such as 500M or 2G; larger minibatches are "
                  "split; 0: no limit [0]")
      ->transform(byte_size())
      ->option_text("BYTES");
  parser.add_flag("--check-finite", options.debug.check_finite,
                  "stop at the first NaN or Inf and name its cell, op and example");
  parser.add_flag("--check-launches", options.debug.check_launches,
                  "on a GPU, wait for each launch, so that an error names its kernel");
  add_choice(parser, "--cuda-graphs", options.debug.cuda_graphs,
             "on a GPU, replay sequences of launches that ran before", switches);
  add_choice(parser, "--persistent", options.persistent,
             "on a GPU, let one kernel walk through many launches", persistent_choices);
  add_choice(parser, "--contractions", options.contractions,
             "on a GPU, who multiplies matrices; auto: whichever is faster in a trial",
             contraction_choices);
  add_choice(parser, "--precision", options.precision,
             "on a GPU, what cuBLAS rounds the factors of contractions to", precisions);
}

void add_batch_flag(CLI::App& parser, std::optional<int>& batch) {
  parser.add_option("--batch", batch, "trees in a minibatch " + usual(&RunConfig::batch))
      ->check(whole(batch_range))
      ->option_text("N");
}

void add_non_finite_flag(CLI::App& parser, NonFinite& value) {
  parser.add_flag_callback(
      "--allow-non-finite", [&value] { value = NonFinite::allow; },
      "load weights though some are NaN or infinite");
}

void take_path(CLI::Option& option, const std::string& text) {
  option.check(some_name())
      ->transform(CLI::Validator(
          [](std::string& path) {
            expand_home(path, 0);
            return std::string();
          },
          ""))
      ->option_text(text);
}

void add_json_flag(CLI::App& parser, std::string& file) {
  take_path(*parser.add_option("--json", file, "write the results as JSON; -: to stdout"), "FILE");
}

}  // namespace espalier::app
