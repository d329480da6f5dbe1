#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/bench_report.h"
#include "app/bench_step.h"
#include "app/commands.h"
#include "app/flags.h"
#include "app/ranges.h"
#include "app/run_report.h"
#include "training/update_rule.h"

namespace espalier::app {
namespace {

/// The command line of `espalier bench step`.
struct StepFlags {
  DataFlags data;
  ModelFlags model;
  StepBenchConfig config;
  std::optional<int> batch;
  std::string pass = "train", optimizer = "adagrad";
  std::optional<std::string> json;
  std::optional<double> lr;
  bool no_kernel_cache = false, parts = false;

  void add(CLI::App& parser);
  StepBenchConfig resolve() const;
};

void StepFlags::add(CLI::App& parser) {
  model.add(parser, /*with_dropout=*/false);
  data.add(parser);
  add_batch_flag(parser, batch);
  add_choice(parser, "--pass", pass, "what is measured", {"train", "forward"}, pass);
  parser.add_option("--seconds", config.seconds, "to measure for, after a warm-up [10]")
      ->check(real(0.01, 1e5))
      ->option_text("X");
  add_engine_flags(parser, config.run.engine);
  add_choice(parser, "--optimizer", optimizer, "the optimizer", names_of(optimizers()), optimizer);
  parser.add_option("--lr", lr, "learning rate [the usual one of the optimizer]")
      ->check(real(0, largest))
      ->option_text("X");
  parser
      .add_option("--seed", config.run.seed,
                  fmt::format("of first values and dropout [{}]", config.run.seed))
      ->check(whole(seed_range))
      ->option_text("N");
  parser
      .add_option("--check-steps", config.check_steps,
                  "steps from the first weights whose losses are told, before the warm-up [3]")
      ->check(whole(0, most_examples))
      ->option_text("N");
  take_path(*parser.add_option("--save-weights", config.save_weights,
                               "write the first weights as safetensors before any step"),
            "FILE");
  take_path(
      *parser.add_option("--load-weights", config.load_weights, "start from the weights of a file"),
      "FILE");
  add_non_finite_flag(parser, config.non_finite);
  parser.add_flag("--shuffle", config.shuffle,
                  "measure each round in an order of its own, so that no minibatch comes twice");
  parser.add_flag("--no-kernel-cache", no_kernel_cache, "compile all kernels anew");
  parser.add_flag("--batches", parts, "show where the time goes, by cell and pass");
  parser.add_option("--json", json, "write all that was measured as JSON, to stdout if no FILE")
      ->expected(0, 1)
      ->default_str("-")
      ->option_text("[FILE]");
}

StepBenchConfig StepFlags::resolve() const {
  StepBenchConfig result = config;
  const EngineOptions engine = config.run.engine;
  result.run = recipe(data.spec, model.name);
  result.run.data = data.resolve(result.run.data);
  result.run.engine = engine;
  result.run.dropout = 0;
  model.resolve(result.run);
  result.run.batch = batch.value_or(result.run.batch);
  result.run.optimizer = optimizer;
  result.run.lr = lr.value_or(update_rule(optimizer).lr);
  // All params follow one rule, and nothing else happens in a step.
  result.run.l2 = result.run.clip = 0;
  result.run.embed_lr.reset();
  result.run.seed = result.run.engine.seed = config.run.seed;
  if (no_kernel_cache) result.run.engine.cache_directory.clear();
  result.training = pass == "train";
  return result;
}

int bench(const StepFlags& flags) {
  // The parser checks nothing that may be left out.
  if (flags.json && flags.json->empty()) throw UsageError("--json: found '', expected a name");
  const std::string json = flags.json.value_or("");
  check_writable(json);
  check_writable(flags.config.save_weights);
  const StepBenchConfig config = flags.resolve();
  const StepBenchReport report = bench_step(config);
  say_notes(report.notes);
  say_warnings(report.warnings);
  if (json != "-") std::cout << to_text(config, report, flags.parts) << std::flush;
  if (!json.empty()) write_json(json, to_json(config, report));
  return kDone;
}

}  // namespace

Command add_bench_command(CLI::App& parent) {
  CLI::App* parser =
      parent.add_subcommand("bench", "Measures speed beside what the machine can do");
  parser->require_subcommand(1);
  CLI::App* step =
      parser->add_subcommand("step", "Whole steps of training or inference on real trees");
  const auto flags = std::make_shared<StepFlags>();
  flags->add(*step);
  const Command device = add_bench_device_command(*parser);
  return {parser,
          [flags, device] { return device.parser->parsed() ? device.run() : bench(*flags); }};
}

}  // namespace espalier::app
