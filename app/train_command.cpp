#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "app/commands.h"
#include "app/flags.h"
#include "app/ranges.h"
#include "app/run_report.h"
#include "app/train.h"
#include "training/optimizer.h"
#include "training/rate_schedule.h"
#include "training/update_rule.h"

namespace espalier::app {
namespace {

/// The command line of `espalier train`.
struct TrainFlags {
  DataFlags data;
  ModelFlags model;
  EngineOptions engine = default_engine();
  std::optional<int> batch, epochs;
  std::optional<std::string> optimizer, lr_schedule;
  std::optional<double> lr, momentum, embed_lr, l2, clip;
  int patience = 0;
  std::int64_t warmup_steps = 0;
  std::uint64_t seed = 42;
  TrainOutputs outputs;

  void add(CLI::App& parser);
  void add_optimizer(CLI::App& parser);
  RunConfig resolve() const;
};

std::vector<std::string_view> momentum_optimizers() {
  std::vector<std::string_view> names;
  for (const OptimizerInfo& info : optimizers())
    if (info.takes_momentum) names.push_back(info.name);
  return names;
}

void TrainFlags::add_optimizer(CLI::App& parser) {
  add_choice(parser, "--optimizer", optimizer, "the optimizer", names_of(optimizers()),
             usual([](const RunConfig& config) { return config.optimizer; }));
  const auto number = [&](const char* flags, std::optional<double>& value,
                          const std::string& text) {
    parser.add_option(flags, value, text)->check(real(0, largest))->option_text("X");
  };
  number("--lr", lr, "learning rate; another optimizer: its usual one " + usual(&RunConfig::lr));
  number("--momentum", momentum,
         fmt::format("momentum of {} [0]", fmt::join(momentum_optimizers(), ", ")));
  const auto embed_rate = [](const RunConfig& config) {
    return config.embed_lr ? fmt::format("{}", *config.embed_lr) : "as all params";
  };
  number("--embed-lr", embed_lr,
         fmt::format("word vectors by plain SGD at this rate [{}; with another optimizer as all "
                     "params]",
                     usual(embed_rate)));
  number("--l2", l2, "weight decay of all but the word vectors " + usual(&RunConfig::l2));
  number("--clip,--max-grad-norm", clip,
         "scale gradients down to this norm; 0: never " + usual(&RunConfig::clip));
  const auto kinds = rate_schedules();
  add_choice(parser, "--lr-schedule", lr_schedule, "how the learning rate changes",
             {kinds.begin(), kinds.end()},
             usual([](const RunConfig& config) { return config.schedule.kind; }));
  parser.add_option("--warmup-steps", warmup_steps, "over which the learning rate rises [0]")
      ->check(whole(0, most_examples))
      ->option_text("N");
}

void TrainFlags::add(CLI::App& parser) {
  model.add(parser);
  data.add(parser);
  add_batch_flag(parser, batch);
  parser
      .add_option("--epochs", epochs, "passes over the training data " + usual(&RunConfig::epochs))
      ->check(whole(1, most_examples))
      ->option_text("N");
  parser
      .add_option("--patience", patience,
                  "stop after so many epochs without a better dev accuracy; 0: never [0]")
      ->check(whole(0, most_examples))
      ->option_text("N");
  add_optimizer(parser);
  add_engine_flags(parser, engine);
  parser.add_option("--seed", seed, fmt::format("of first values, order and dropout [{}]", seed))
      ->check(whole(seed_range))
      ->option_text("N");
  take_path(*parser.add_option("--save", outputs.folder,
                               "run folder: the best model, its metrics, the log"),
            "DIR");
  parser.add_flag("--overwrite", outputs.overwrite, "replace the model that is in that folder");
  add_json_flag(parser, outputs.json);
  add_choice(parser, "--color", outputs.color, "colours in the progress", colors);
}

RunConfig TrainFlags::resolve() const {
  RunConfig config = recipe(data.spec, model.name);
  config.data = data.resolve(config.data);
  config.engine = engine;
  model.resolve(config);
  config.batch = batch.value_or(config.batch);
  config.epochs = epochs.value_or(config.epochs);
  config.patience = patience;
  if (optimizer && *optimizer != config.optimizer) {
    config.optimizer = *optimizer;
    config.lr = update_rule(*optimizer).lr;
    config.embed_lr.reset();
  }
  config.lr = lr.value_or(config.lr);
  if (momentum && !update_rule(config.optimizer).optimizer->takes_momentum)
    throw UsageError(fmt::format("--momentum is for --optimizer {}, found {}",
                                 fmt::join(momentum_optimizers(), " or "), config.optimizer));
  config.momentum = momentum.value_or(0);
  if (embed_lr) config.embed_lr = embed_lr;
  config.l2 = l2.value_or(config.l2);
  config.clip = clip.value_or(config.clip);
  config.schedule.kind = lr_schedule.value_or(config.schedule.kind);
  config.schedule.warmup_steps = warmup_steps;
  config.seed = config.engine.seed = seed;
  return config;
}

}  // namespace

Command add_train_command(CLI::App& parent) {
  CLI::App* parser =
      parent.add_subcommand("train",
                            "Trains a model; keeps the epoch with the best dev accuracy and tests "
                            "that. It is the accuracy "
                            "where labels count (--loss): at all labelled nodes, or at the roots");
  const auto flags = std::make_shared<TrainFlags>();
  flags->add(*parser);
  return {parser, [flags] {
            check_writable(flags->outputs.json);
            return train(flags->resolve(), flags->outputs);
          }};
}

}  // namespace espalier::app
