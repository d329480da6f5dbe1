#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/build_info.h"
#include "app/commands.h"
#include "app/evaluation.h"
#include "app/flags.h"
#include "app/ranges.h"
#include "app/run_report.h"
#include "base/error.h"
#include "base/excerpt.h"
#include "ir/text/parse.h"
#include "models/models.h"
#include "training/checkpoint.h"
#include "training/engine_task.h"

namespace espalier::app {
namespace {

struct EvalFlags {
  std::string folder, json;
  data::Splits split = data::Splits::test;
  DataFlags data;
  EngineOptions engine = default_engine();
  bool confusion = false;
  NonFinite non_finite = NonFinite::refuse;

  void add(CLI::App& parser);
};

void EvalFlags::add(CLI::App& parser) {
  CLI::Option* const load = parser.add_option("--load", folder, "the run folder of the model");
  take_path(*load, "DIR");
  load->required();
  data.add_with_saved(parser);
  add_choice(parser, "--split", split, "which trees", splits);
  add_engine_flags(parser, engine);
  parser.add_flag("--confusion", confusion, "print the confusion matrix too");
  add_non_finite_flag(parser, non_finite);
  add_json_flag(parser, json);
}

/// Of the splits that were loaded.
std::vector<data::Tree> all_trees(data::Dataset& dataset) {
  std::vector<data::Tree> all = std::move(dataset.train);
  for (auto* part : {&dataset.dev, &dataset.test})
    all.insert(all.end(), std::make_move_iterator(part->begin()),
               std::make_move_iterator(part->end()));
  return all;
}

/// The saved model as this build defines it. UserError if its program is not the saved one.
std::unique_ptr<models::TreeModel> build_model(const SavedModel& saved,
                                               const models::ModelOptions& options,
                                               const std::filesystem::path& folder) {
  auto model = models::find_model(saved.name).make(options);
  const std::string file = (folder / "model.json").string();
  user_check(ir::parse(saved.program, file + ", program") == model->program(),
             "{}: found a program that is not the one of {} in this espalier ({}): it was changed, "
             "or saved by another version",
             file, saved.name, build_info().version);
  return model;
}

/// As load(); what is wrong with data that model.json names says that others can be named.
data::Dataset load_data(const EvalFlags& flags, const DataConfig& config, std::string_view model,
                        const data::LoadOptions& options) {
  if (!flags.data.is_saved()) return load(config, model, options);
  try {
    return load(config, model, options);
  } catch (const UserError& error) {
    throw UserError(
        fmt::format("{} (the data of {}; --data names others)", error.what(), flags.folder));
  }
}

int evaluate_saved(const EvalFlags& flags) {
  check_writable(flags.json);
  const SavedModel saved = load_model(flags.folder);
  SavedRun run = saved_run(saved, flags.folder);
  // Whoever wrote model.json does not choose which files of ours are read.
  if (flags.data.spec.empty() && !run.data.generated())
    throw UsageError(
        fmt::format("--data is required: {} was trained on '{}', which '--data saved' reads",
                    flags.folder, excerpt(run.data.spec)));
  DataConfig config = flags.data.resolve(run.data);
  run.load.splits = flags.split;
  const std::string_view split = name_of(splits, flags.split);
  // The limit of a training is none of a file's examples.
  if (flags.split == data::Splits::all_there_are && !flags.data.examples && !config.generated())
    config.examples = 0;
  data::Dataset dataset = load_data(flags, config, saved.name, run.load);
  say_notes(dataset.notes);
  const auto model = build_model(saved, run.model, flags.folder);
  user_check(
      dataset.classes == run.model.classes && dataset.vocabulary.size() == run.model.vocabulary,
      "{}: found data of {} classes and {} tokens, expected {} and {} as in {}", config.spec,
      dataset.classes, dataset.vocabulary.size(), run.model.classes, run.model.vocabulary,
      flags.folder);
  // Before an engine takes the memory that the program asks for.
  const auto weights = load_weights(flags.folder, model->program().params, flags.non_finite);
  Engine engine(model->program(), flags.engine);
  set_params(engine, weights);

  const bool sentiment = is_sentiment(dataset);
  const std::vector<data::Tree> trees = all_trees(dataset);
  const Evaluation result = evaluate(engine, *model, trees, sentiment);
  say_warnings(engine.warnings());
  user_check(result.nodes.total() > 0,
             "{}: found no label in split '{}', expected some to compare with", config.spec, split);
  user_check(result.not_finite == 0 || flags.non_finite == NonFinite::allow,
             "{}: found scores that are not finite for {} of {} labelled nodes, expected numbers "
             "(--allow-non-finite counts their classes as they come)",
             flags.folder, result.not_finite, result.nodes.total());
  std::string text = to_text(result, split);
  if (flags.confusion)
    text += (result.roots.total() > 0 ? result.roots : result.nodes).to_text(dataset.label_names);
  text += fmt::format("{:.1f} examples/s\n",
                      static_cast<double>(result.examples) / std::max(result.seconds, 1e-9));
  (flags.json == "-" ? std::cerr : std::cout) << text << std::flush;
  if (!flags.json.empty())
    write_json(flags.json, {{"model", saved.name},
                            {"load", flags.folder},
                            {"data", config.spec},
                            {"split", split},
                            {"target", engine.target()},
                            {"metrics", to_json(result)}});
  return kDone;
}

}  // namespace

Command add_eval_command(CLI::App& parent) {
  CLI::App* parser =
      parent.add_subcommand("eval", "Measures a saved model on its data or on others");
  const auto flags = std::make_shared<EvalFlags>();
  flags->add(*parser);
  return {parser, [flags] { return evaluate_saved(*flags); }};
}

}  // namespace espalier::app
