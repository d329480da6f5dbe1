#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "app/commands.h"
#include "app/flags.h"
#include "app/ranges.h"
#include "app/run_report.h"
#include "data/minibatches.h"
#include "ir/record/recorder.h"
#include "models/models.h"
#include "scheduler/cell_graph.h"
#include "scheduler/layout.h"
#include "scheduler/report.h"
#include "scheduler/strategy.h"

namespace espalier::app {
namespace {

struct ScheduleFlags {
  DataFlags data;
  ModelFlags model;
  EngineOptions engine = default_engine();
  std::optional<int> batch;
  std::uint64_t seed = 42;
  std::string format = "text";

  void add(CLI::App& parser);
};

void ScheduleFlags::add(CLI::App& parser) {
  model.add(parser);
  data.add(parser);
  add_batch_flag(parser, batch);
  add_schedule_flags(parser, engine);
  parser.add_option("--seed", seed, fmt::format("of the order of the trees [{}]", seed))
      ->check(whole(seed_range))
      ->option_text("N");
  add_choice(parser, "--format", format, "how it is printed", {"text", "dot", "json"}, format);
}

scheduler::ScheduleReport first_minibatch(const ScheduleFlags& flags) {
  RunConfig config = recipe(flags.data.spec, flags.model.name);
  config.data = flags.data.resolve(config.data);
  flags.model.resolve(config);
  const data::Dataset dataset = load(config.data, config.model);
  say_notes(dataset.notes);
  const auto model = models::find_model(config.model).make(model_options(config, dataset));

  ir::Program program = model->program();
  ir::Recorder recorder(program, record_options(flags.engine));
  const Instances instances(recorder);
  data::Minibatches minibatches(static_cast<int>(dataset.train.size()),
                                flags.batch.value_or(config.batch), flags.seed);
  minibatches.start_epoch(0);
  for (const int example : minibatches[0]) {
    instances.begin_example(static_cast<std::uint64_t>(example));
    model->record_loss(instances, dataset.train[static_cast<std::size_t>(example)]);
  }

  const ir::Program& recorded = recorder.program();
  scheduler::Schedule schedule;
  scheduler::make_strategy(flags.engine.strategy)
      ->run(recorder.graph(), scheduler::cell_graph(recorded), schedule);
  scheduler::check(schedule, recorder.graph());
  scheduler::Layout layout;
  layout.clear(recorded);
  layout.append(recorder.graph(), schedule, recorded);
  schedule = {};  // the layout has it all
  return scheduler::schedule_report(flags.engine.strategy, recorder.graph(), recorded, layout);
}

}  // namespace

Command add_schedule_command(CLI::App& parent) {
  CLI::App* parser =
      parent.add_subcommand("schedule", "Shows how the first minibatch of a training is batched");
  const auto flags = std::make_shared<ScheduleFlags>();
  flags->add(*parser);
  return {parser, [flags] {
            const scheduler::ScheduleReport report = first_minibatch(*flags);
            if (flags->format == "dot")
              scheduler::print_dot(std::cout, report);
            else if (flags->format == "json")
              scheduler::print_json(std::cout, report);
            else
              scheduler::print_text(std::cout, report);
            std::cout << std::flush;
            return kDone;
          }};
}

}  // namespace espalier::app
