// `espalier bench step`: what it reports is there, fits together, and does not depend on how trees
// are batched. How fast anything was is no test's business.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/app/command.h"

namespace espalier::app {
namespace {

using nlohmann::json;

Arguments step(const Arguments& more) {
  Arguments arguments = {"bench", "step",         "--data", "listops",   "--examples",
                         "60",    "--max-tokens", "20",     "--seconds", "0.01"};
  for (const auto& [flag, value] :
       {std::pair{"--hidden", "8"}, std::pair{"--embed", "6"}, std::pair{"--batch", "8"}})
    if (std::ranges::find(more, flag) == more.end())
      arguments.insert(arguments.end(), {flag, value});
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

json step_json(const Arguments& more) {
  const Output output = run(step(more));
  EXPECT_EQ(output.status, 0) << output.err;
  return json::parse(output.out, nullptr, false);
}

TEST(BenchStep, ReportsEverythingUnderItsName) {
  const json report = step_json({"--threads", "2", "--share", "off", "--json"});
  for (const char* field :
       {"examples_per_second", "nodes_per_second", "tokens_per_second", "microseconds_per_token",
        "model_flops_per_second", "peak_flops_per_second", "peak_flops_per_second_one_thread",
        "fraction_of_peak", "fraction_of_roofline", "launches", "batches", "peak_bytes",
        "peak_resident_bytes", "loss", "compile_seconds", "steps", "warmup_steps"})
    EXPECT_GT(report.at(field), 0) << field;
  for (const char* part : {"record", "schedule", "layout", "plan", "forward", "backward", "update"})
    EXPECT_GT(report.at("seconds").at(part), 0) << part;
  const json& spread = report.at("step_seconds");
  EXPECT_LE(spread.at("min"), spread.at("q1"));
  EXPECT_LE(spread.at("q1"), spread.at("median"));
  EXPECT_LE(spread.at("median"), spread.at("q3"));
  EXPECT_LE(spread.at("q3"), spread.at("max"));
  EXPECT_EQ(report.at("compilations_after_warmup"), 0);
  EXPECT_GE(report.at("batches"), report.at("launch_lower_bound"));
  EXPECT_EQ(report.at("bytes_gathered"), 0);
  EXPECT_EQ(report.at("calls"), report.at("instances"));
  EXPECT_EQ(report.at("model_flops"), report.at("model_flops_unshared"));
  EXPECT_EQ(report.at("first_losses").size(), 3U);
  EXPECT_EQ(report.at("warnings"), json::array());
  EXPECT_FALSE(report.at("bandwidth").empty());

  const json& settings = report.at("settings");
  EXPECT_EQ(settings.at("model"), "tree_lstm");
  EXPECT_EQ(settings.at("minibatch"), 8);
  EXPECT_EQ(settings.at("minibatches"), 6);  // of 48 training trees
  EXPECT_EQ(settings.at("threads"), 2);
  EXPECT_EQ(settings.at("pass"), "train");
  EXPECT_EQ(settings.at("optimizer"), "adagrad");
}

TEST(BenchStep, PartsAddUpToAStep) {
  for (const char* model : {"tree_lstm", "child_sum_tree_lstm", "lstm"})
    for (const char* pass : {"train", "forward"}) {
      SCOPED_TRACE(std::string(model) + " " + pass);
      // One minibatch, so that every step is the same.
      const json report =
          step_json({"--model", model, "--pass", pass, "--batch", "48", "--json", "-"});
      double flops = 0, launches = 0, gathered = 0;
      for (const json& part : report.at("parts")) {
        flops += part.at("flops").get<double>();
        launches += part.at("launches").get<double>();
        gathered += part.at("bytes_gathered").get<double>();
        EXPECT_GT(part.at("seconds"), 0) << part;
      }
      EXPECT_EQ(flops, report.at("model_flops"));
      EXPECT_EQ(launches, report.at("launches"));
      EXPECT_EQ(gathered, 0);
      EXPECT_EQ(report.at("bytes_gathered"), 0);
    }
}

TEST(BenchStep, SharingIsCountedBothWays) {
  const json plain = step_json({"--batch", "48", "--share", "off", "--json", "-"});
  const json shared = step_json({"--batch", "48", "--json", "-"});
  EXPECT_EQ(shared.at("calls"), plain.at("calls"));
  EXPECT_LT(shared.at("instances"), plain.at("instances"));
  EXPECT_LT(shared.at("model_flops"), plain.at("model_flops"));
  EXPECT_EQ(shared.at("model_flops_unshared"), plain.at("model_flops"));
}

TEST(BenchStep, FirstLossesDependOnNothingButTheWeights) {
  const TemporaryFolder folder;
  const std::string weights = folder / "first.safetensors";
  const json first = step_json({"--json", "--save-weights", weights}).at("first_losses");
  // The first is forward alone, whose bits do not depend on the schedule. Those of gradients do, so
  // later losses differ by roundings of sums over some dozens of instances.
  const double close = 64 * std::numeric_limits<float>::epsilon() * first[0].get<double>();
  for (const char* strategy : {"unbatched", "depth", "agenda"}) {
    const json other =
        step_json({"--json", "--strategy", strategy, "--threads", "1"}).at("first_losses");
    EXPECT_EQ(other[0], first[0]) << strategy;
    for (int i : {1, 2}) EXPECT_NEAR(other[i], first[i].get<double>(), close) << strategy;
  }
  const Arguments forward = {"--json",         "--pass", "forward",
                             "--load-weights", weights,  "--strategy"};
  const auto forward_losses = [&](const char* strategy) {
    Arguments arguments = forward;
    arguments.push_back(strategy);
    return step_json(arguments).at("first_losses");
  };
  const json reference = forward_losses("unbatched");
  EXPECT_EQ(reference[0], first[0]);
  for (const char* strategy : {"depth", "agenda", "phase"})
    EXPECT_EQ(forward_losses(strategy), reference) << strategy;
  EXPECT_NE(step_json({"--json", "--seed", "7"}).at("first_losses"), first);
  EXPECT_EQ(step_json({"--json", "--seed", "7", "--load-weights", weights}).at("first_losses"),
            first);
}

TEST(BenchStep, ShuffledRoundsSeeEveryTreeInOtherCompany) {
  // A round of 48 trees in 6 minibatches: whatever the order, the mean is the same.
  const json plain = step_json({"--pass", "forward", "--json"});
  const json shuffled = step_json({"--pass", "forward", "--shuffle", "--json"});
  EXPECT_EQ(shuffled.at("settings").at("shuffle"), true);
  EXPECT_EQ(shuffled.at("settings").at("minibatches"), 6);
  EXPECT_EQ(shuffled.at("first_losses"), plain.at("first_losses"));
  const double mean = plain.at("loss");
  EXPECT_NEAR(shuffled.at("loss"), mean, 1e-6 * mean);
  for (const json* report : {&plain, &shuffled})
    for (const char* field : {"calls", "instances", "model_flops", "batches", "nodes_per_second"})
      EXPECT_GT(report->at(field), 0) << field;
  // One minibatch a round, of three in four trees: always the same ones, or others each time.
  const json same = step_json({"--pass", "forward", "--batch", "36", "--json"});
  const json other = step_json({"--pass", "forward", "--batch", "36", "--shuffle", "--json"});
  const double first = same.at("first_losses")[0];
  EXPECT_NEAR(same.at("loss"), first, 1e-6 * first);
  EXPECT_GT(std::abs(other.at("loss").get<double>() - first), 1e-5 * first);
}

TEST(BenchStep, AMemoryLimitSplitsMinibatches) {
  // Wide enough that the index arrays of a minibatch, which are there before it is split, are
  // small.
  const json whole = step_json({"--batch", "48", "--hidden", "32", "--json"});
  EXPECT_EQ(whole.at("split_into"), 1);
  EXPECT_NEAR(double(whole.at("forecast_bytes")) / double(whole.at("peak_bytes")), 1, 0.1);
  const std::int64_t limit = std::int64_t(whole.at("peak_bytes")) * 3 / 4;
  const json parts = step_json(
      {"--batch", "48", "--hidden", "32", "--json", "--memory-limit", std::to_string(limit)});
  EXPECT_EQ(parts.at("settings").at("memory_limit"), limit);
  EXPECT_GT(parts.at("split_into"), 1);
  EXPECT_LE(parts.at("peak_bytes"), limit);
  EXPECT_GT(parts.at("forecast_bytes"), limit);
}

TEST(BenchStep, ForwardLeavesTheWeightsAsTheyAre) {
  const json forward = step_json({"--pass", "forward", "--json", "--check-steps", "7"});
  const json train = step_json({"--json", "--check-steps", "1"});
  EXPECT_EQ(forward.at("first_losses")[0], train.at("first_losses")[0]);
  EXPECT_EQ(forward.at("first_losses")[6], forward.at("first_losses")[0]);  // six minibatches
  EXPECT_EQ(forward.at("seconds").at("backward"), 0);
  // On average over the minibatches, each as often as any other.
  double mean = 0;
  for (int i = 0; i < 6; ++i) mean += forward.at("first_losses")[i].get<double>() / 6;
  EXPECT_NEAR(forward.at("loss"), mean, 1e-9 * std::abs(mean));
}

TEST(BenchStep, ATableForReaders) {
  const TemporaryFolder folder;
  const Output output = run(step({"--batches", "--json", folder / "report.json"}));
  ASSERT_EQ(output.status, 0) << output.err;
  for (const char* part : {"a second", "of the roofline", "ms a step", "needed", "after warm-up",
                           "node.forward", "node.backward", "leaf.weights"})
    EXPECT_NE(output.out.find(part), std::string::npos) << part << " in\n" << output.out;
  EXPECT_TRUE(json::accept(read_file(folder / "report.json")));
}

TEST(BenchStep, RefusesWhatItCannotMeasure) {
  const TemporaryFolder folder;
  const Output few = run(step({"--batch", "49"}));
  EXPECT_EQ(few.status, 1);
  EXPECT_NE(few.err.find("found 48 training trees, expected at least one minibatch of 49"),
            std::string::npos)
      << few.err;
  EXPECT_EQ(run(step({"--load-weights", folder / "none"})).status, 1);
}

}  // namespace
}  // namespace espalier::app
