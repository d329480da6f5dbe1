#include "app/flags.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <string_view>

#include "app/commands.h"
#include "app/ranges.h"
#include "base/error.h"
#include "codegen/cpu/host_targets.h"
#include "codegen/kernel/target.h"
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
  if (spec == "listops") return {};
  for (const std::string_view kind : {"listops:", "sst:", "ptb:", "conllu:"})
    if (spec.starts_with(kind) && spec.size() > kind.size()) return {};
  return fmt::format("found '{}', expected listops, listops:FILE, sst:DIR, ptb:FILE or conllu:DIR",
                     spec);
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

constexpr const char* kDataText =
    "listops: generated expressions; listops:FILE: the published form\n"
    "sst:DIR: train.txt, dev.txt and test.txt, binary trees with labels 0 to 4\n"
    "ptb:FILE: bracket trees with any labels, such as (S (NP it) (VP works))\n"
    "conllu:DIR: *-train.conllu, *-dev.conllu and *-test.conllu\n"
    "One file is split: its last tenth is test, the tenth before it dev, the rest train";

std::string choice_text(std::string_view description, const std::vector<std::string>& names,
                        std::string_view otherwise) {
  return fmt::format("{}: {} [{}]", description, fmt::join(names, ", "), otherwise);
}

template <class Table>
std::vector<std::string> names_of(const Table& table) {
  std::vector<std::string> names;
  for (const auto& row : table) names.emplace_back(row.name);
  return names;
}

}  // namespace

void add_choice(CLI::App& parser, const std::string& flag, std::string& value,
                std::string_view description, const std::vector<std::string>& names,
                std::string_view otherwise) {
  parser.add_option(flag, value, choice_text(description, names, otherwise))
      ->check(one_of(names))
      ->option_text("NAME");
}

void add_choice(CLI::App& parser, const std::string& flag, std::optional<std::string>& value,
                std::string_view description, const std::vector<std::string>& names,
                std::string_view otherwise) {
  parser.add_option(flag, value, choice_text(description, names, otherwise))
      ->check(one_of(names))
      ->option_text("NAME");
}

void add_switch(CLI::App& parser, const std::string& flag, bool& value,
                std::string_view description) {
  const std::vector<std::string> names = {"on", "off"};
  parser
      .add_option_function<std::string>(
          flag, [&value](const std::string& name) { value = name == "on"; },
          choice_text(description, names, value ? "on" : "off"))
      ->check(one_of(names))
      ->option_text("NAME");
}

void DataFlags::add(CLI::App& parser) {
  add_spec(parser, kDataText)->check(CLI::Validator(data_form, ""))->required();
  add_rest(parser);
}

void DataFlags::add_with_saved(CLI::App& parser) {
  const auto form = [](const std::string& text) {
    return text == kSaved ? std::string() : data_form(text);
  };
  add_spec(parser, fmt::format("{}\n{}: what the model was trained on", kDataText, kSaved))
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
                  fmt::format("listops: expressions to draw [{}]; else the most training trees",
                              recipe("listops", "").data.examples))
      ->check(whole(examples_range))
      ->option_text("N");
  parser.add_option("--max-tokens", max_tokens, "listops: of an expression [60]")
      ->check(whole(max_tokens_range))
      ->option_text("N");
  parser.add_option("--data-seed", seed, "listops: of the generator [42]")
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
  add_choice(parser, "--model", name, "the model", model_names(), name);
  add_sizes(parser, with_dropout);
  add_choice(parser, "--loss", loss, "where labels count", {"every-node", "root"},
             "every-node; listops, and lstm but for conllu, root");
}

void ModelFlags::resolve(RunConfig& config) const {
  config.hidden = hidden.value_or(config.hidden);
  config.embed = embed.value_or(config.embed);
  config.dropout = dropout.value_or(config.dropout);
  if (loss) config.labels_at = labels_at_of(*loss);
}

void add_schedule_flags(CLI::App& parser, EngineConfig& config) {
  add_choice(parser, "--strategy", config.strategy, "how calls are put into batches",
             strategy_names(), config.strategy);
  add_choice(parser, "--granularity", config.granularity, "an instance per call or per op",
             {"cell", "op"}, config.granularity);
  add_switch(parser, "--share", config.share, "equal calls run once a minibatch");
  add_switch(parser, "--hoist", config.hoist, "what depends on no state runs as one batch");
}

void add_target_flag(CLI::App& parser, std::string& target) {
  add_choice(parser, "--target", target, "what to compile for", names_of(codegen::host_targets()),
             "the first");
}

void add_engine_flags(CLI::App& parser, EngineConfig& config) {
  add_schedule_flags(parser, config);
  parser.add_option("--threads", config.threads, "0: as many as the machine has cores [0]")
      ->check(whole(0, 1024))
      ->option_text("N");
  add_target_flag(parser, config.target);
  add_choice(parser, "--device", config.device, "where to run", {"cpu", "cuda", "auto"},
             config.device);
  parser
      .add_option("--memory-limit", config.memory_limit,
                  "most bytes of the engine, e.g. 500M or 2G: minibatches are split; 0: none [0]")
      ->transform(byte_size())
      ->option_text("BYTES");
  parser.add_flag("--check-finite", config.check_finite,
                  "stop at the first NaN or Inf and name cell, op and example");
  parser.add_flag("--check-launches", config.check_launches,
                  "on a GPU, wait for each launch, so that an error names its kernel");
  add_switch(parser, "--cuda-graphs", config.cuda_graphs,
             "on a GPU, replay sequences of launches that ran before");
  add_choice(parser, "--persistent", config.persistent, "on a GPU, one kernel walks many launches",
             {"auto", "on", "off"}, config.persistent);
  add_choice(parser, "--contractions", config.contractions,
             "on a GPU, who multiplies; auto: by a trial, once", {"auto", "tile", "cublas"},
             config.contractions);
  add_switch(parser, "--tf32", config.tf32, "on a GPU, cuBLAS rounds factors to TF32");
  add_switch(parser, "--bf16", config.bf16, "on a GPU, factors of cuBLAS are bfloat16");
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
  take_path(*parser.add_option("--json", file, "write all that was measured as JSON; - is stdout"),
            "FILE");
}

std::vector<std::string> model_names() { return names_of(models::models()); }
std::vector<std::string> strategy_names() { return names_of(scheduler::strategies()); }

}  // namespace espalier::app
