// `espalier train` and `eval`: the same bits for the same seed, everything that a run leaves
// behind, and what a user sees.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/app/command.h"

namespace espalier::app {
namespace {

using nlohmann::json;

/// Without what the machine's speed, its cache and the place of files decide.
json reproducible(json object) {
  if (object.is_object())
    for (const char* key : {"seconds", "examples_per_second", "kernels", "threads", "bytes_held",
                            "peak_bytes", "allocations", "compilations"})
      object.erase(key);
  if (object.is_structured())
    for (json& member : object) member = reproducible(member);
  return object;
}

std::string sst_lines(int count, int shift) {
  std::string text;
  for (int i = 0; i < count; ++i)
    text += "(" + std::to_string((i + shift) % 5) + " (2 w" + std::to_string(i % 7) + ") (" +
            std::to_string(i % 5) + " (1 not) (3 w" + std::to_string(i % 3) + ")))\n";
  return text;
}

TEST(Train, SameSeedSameBits) {
  const json first = train_json({"--dropout", "0.3"});
  EXPECT_EQ(first["epochs"].size(), 2u);
  EXPECT_EQ(first["options"]["hidden"], 8);
  EXPECT_EQ(reproducible(train_json({"--dropout", "0.3"})), reproducible(first));
  EXPECT_EQ(reproducible(train_json({"--dropout", "0.3", "--threads", "2"})), reproducible(first));
  EXPECT_NE(train_json({"--dropout", "0.3", "--seed", "43"})["epochs"][0]["loss"],
            first["epochs"][0]["loss"]);
}

TEST(Train, AMemoryLimitSplitsMinibatchesAndEvaluation) {
  const Arguments flags = {"--hidden", "40", "--batch", "80", "--dropout", "0.3"};
  const json whole = train_json(flags);
  EXPECT_EQ(whole["statistics"]["parts_per_step"], 1);
  const std::int64_t peak = whole["statistics"]["peak_bytes"];
  Arguments limited = flags;
  limited.insert(limited.end(), {"--memory-limit", std::to_string(peak * 7 / 10)});
  const json parts = train_json(limited);
  EXPECT_GE(parts["statistics"]["parts_per_step"], 2);
  EXPECT_LE(parts["statistics"]["peak_bytes"], peak * 7 / 10);
  // Only the order in which gradients are summed differs.
  EXPECT_EQ(parts["epochs"][0]["loss"], whole["epochs"][0]["loss"]);
  EXPECT_NEAR(double(parts["epochs"][1]["loss"]), double(whole["epochs"][1]["loss"]), 1e-4);
  EXPECT_EQ(parts["test"]["nodes"], whole["test"]["nodes"]);
}

TEST(Train, AMemoryLimitHoldsForMinibatchesThatCannotBeRecordedAtOnce) {
  const Arguments flags = {"--hidden", "8", "--batch", "2000", "--examples", "2500"};
  const json whole = train_json(flags);
  for (const std::int64_t limit : {700'000, 1'500'000}) {
    Arguments limited = flags;
    limited.insert(limited.end(), {"--memory-limit", std::to_string(limit)});
    const json parts = train_json(limited);
    EXPECT_GT(parts["statistics"]["parts_per_step"], 2);
    EXPECT_LE(parts["statistics"]["peak_bytes"], limit);
    EXPECT_EQ(parts["epochs"][0]["loss"], whole["epochs"][0]["loss"]);
    EXPECT_EQ(parts["test"]["nodes"], whole["test"]["nodes"]);
  }
}

TEST(Train, StepsCompileNothingAfterTheFirstEpoch) {
  const json result = train_json({"--epochs", "4"});
  EXPECT_GT(result["statistics"]["compilations"], 0);
  EXPECT_EQ(result["statistics"]["compilations_after_warm_up"], 0);
  EXPECT_GT(result["statistics"]["batches_per_step"], 0);
  for (const char* part : {"record", "schedule", "layout", "forward", "backward", "update"})
    EXPECT_GT(result["seconds"][part], 0) << part;
}

TEST(Train, FirstLossDoesNotDependOnTheStrategy) {
  const Arguments one_step = {"--epochs", "1", "--batch", "80", "--strategy"};
  const auto first_loss = [&](const std::string& strategy) {
    Arguments arguments = one_step;
    arguments.push_back(strategy);
    return train_json(arguments)["epochs"][0]["loss"];
  };
  const json reference = first_loss("unbatched");
  for (const char* strategy : {"depth", "agenda", "phase"})
    EXPECT_EQ(first_loss(strategy), reference) << strategy;
}

TEST(Train, OpGranularityLearnsTheSame) {
  const json cell = train_json({}), op = train_json({"--granularity", "op"});
  EXPECT_GT(op["statistics"]["instances_per_step"], cell["statistics"]["instances_per_step"]);
  EXPECT_NEAR(op["epochs"][1]["loss"], cell["epochs"][1]["loss"].get<double>(), 1e-4);
}

TEST(Train, SharingAndHoistingLearnTheSame) {
  const json plain = train_json({"--share", "off", "--hoist", "off"}), share = train_json({});
  const auto& all = plain["statistics"];
  const auto& few = share["statistics"];
  EXPECT_EQ(all["instances_per_step"], all["calls_per_step"]);
  EXPECT_EQ(few["calls_per_step"], all["calls_per_step"]);
  EXPECT_LT(few["instances_per_step"], few["calls_per_step"]);
  EXPECT_NEAR(share["epochs"][1]["loss"], plain["epochs"][1]["loss"].get<double>(), 1e-4);
  EXPECT_EQ(share["options"]["share"], true);
}

TEST(Train, EvalOfASavedModelGivesTheSameAccuracy) {
  const TemporaryFolder folder;
  const json trained = train_json({"--save", folder / "run"});
  for (const char* file : {"model.safetensors", "model.json", "vocab.txt", "config.json",
                           "metrics.csv", "metrics.json", "training.log"})
    EXPECT_TRUE(std::filesystem::is_regular_file(folder / (std::string("run/") + file))) << file;

  const auto evaluate = [&](const Arguments& more) {
    Arguments arguments = {"eval", "--load", folder / "run", "--json", "-"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Output output = run(arguments);
    EXPECT_EQ(output.status, 0) << output.err;
    return json::parse(output.out, nullptr, false);
  };
  const json test = evaluate({});
  EXPECT_EQ(reproducible(test["metrics"]), reproducible(trained["test"]));
  for (const Arguments& more : {Arguments{"--strategy", "unbatched"},
                                {"--threads", "2"},
                                {"--data", "listops"},
                                {"--share", "off"}})
    EXPECT_EQ(reproducible(evaluate(more)["metrics"]), reproducible(test["metrics"])) << more[0];
  const int best = trained["best_epoch"];
  EXPECT_EQ(evaluate({"--split", "dev"})["metrics"]["accuracy"],
            trained["epochs"][best - 1]["dev_accuracy"]);
  EXPECT_EQ(evaluate({"--split", "all"})["metrics"]["examples"], 100);
  const std::string bare = folder.write("bare.ptb", "(a)\n(b)\n(c)\n");
  const Output unlabelled = run({"eval", "--load", folder / "run", "--data", "ptb:" + bare});
  EXPECT_EQ(unlabelled.status, 1);
  EXPECT_NE(unlabelled.err.find("found no label in split 'test'"), std::string::npos);

  EXPECT_EQ(reproducible(json::parse(read_file(folder / "run/metrics.json"))),
            reproducible(trained));
  EXPECT_EQ(json::parse(read_file(folder / "run/config.json"))["embed"], 6);
  std::istringstream csv(read_file(folder / "run/metrics.csv"));
  std::string line;
  int rows = 0;
  while (std::getline(csv, line)) ++rows;
  EXPECT_EQ(rows, 3);
  const std::string log = read_file(folder / "run/training.log");
  EXPECT_NE(log.find("epoch 2/2 | loss "), std::string::npos) << log;
}

TEST(Train, AModelThatWasChangedIsRefused) {
  const TemporaryFolder folder;
  train_json({"--save", folder / "run", "--epochs", "1"});
  json model = json::parse(read_file(folder / "run/model.json"));
  model["settings"]["hidden"] = 9;
  folder.write("run/model.json", model.dump());
  const Output output = run({"eval", "--load", folder / "run"});
  EXPECT_EQ(output.status, 1);
  EXPECT_NE(output.err.find("model.json: found a program"), std::string::npos) << output.err;
}

TEST(Train, SstGivesBinaryAndNodeAccuracy) {
  const TemporaryFolder folder;
  folder.write("train.txt", sst_lines(40, 0));
  folder.write("dev.txt", sst_lines(9, 1));
  folder.write("test.txt", sst_lines(10, 2));
  for (const char* model : {"tree_lstm", "child_sum_tree_lstm", "lstm"}) {
    const json result =
        train_json({"--data", "sst:" + folder.path(), "--model", model, "--optimizer", "adagrad",
                    "--lr", "0.05", "--embed-lr", "0.1", "--l2", "1e-4", "--dropout", "0.5"});
    const json& test = result["test"];
    EXPECT_EQ(test["roots"], 10) << model;
    EXPECT_EQ(test["binary_roots"], 8) << model;
    EXPECT_EQ(test["nodes"], std::string(model) == "lstm" ? 10 : 50) << model;
    EXPECT_EQ(result["options"]["embed_lr"], 0.1);
  }
}

TEST(Train, TheBestEpochIsThatOfTheLabelsThatCount) {
  const TemporaryFolder folder;
  // Every root is TOP, which is learnt at once; the labels below take longer.
  std::string text;
  for (int i = 0; i < 60; ++i) {
    const auto word = [](int w) { return fmt::format("({} w{})", "ABCDEFGH"[w % 8], w % 40); };
    text += fmt::format("(TOP (X {} {}) {})\n", word(7 * i), word(3 * i + 1), word(i));
  }
  const std::string data = "ptb:" + folder.write("trees.ptb", text);
  for (const auto& [loss, metric] :
       {std::pair{"every-node", "all nodes"}, std::pair{"root", "roots"}}) {
    const json trained =
        train_json({"--data", data, "--loss", loss, "--epochs", "4", "--save", folder / loss});
    EXPECT_EQ(trained["metric"], metric);
    double best = 0;
    for (const json& epoch : trained["epochs"])
      best = std::max<double>(best, epoch["dev_accuracy"]);
    const Output output =
        run({"eval", "--load", folder / loss, "--data", data, "--split", "dev", "--json", "-"});
    const json metrics = json::parse(output.out, nullptr, false)["metrics"];
    EXPECT_EQ(metrics["accuracy"], best) << output.err;
    const bool at_roots = std::string(metric) == "roots";
    EXPECT_EQ(metrics[at_roots ? "root_accuracy" : "node_accuracy"], best);
    EXPECT_EQ(metrics["root_accuracy"], 1.0);
    EXPECT_EQ(best == 1.0, at_roots) << "the labels below are not learnt yet";
    EXPECT_NE(read_file(folder / (loss + std::string("/training.log")))
                  .find(fmt::format(" | dev acc ({}) ", metric)),
              std::string::npos);
  }
}

TEST(Train, TokensCanBeLabelled) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 30; ++i) text += "((DT the) (NN w" + std::to_string(i % 4) + ") (VB goes))\n";
  const std::string file = folder.write("tags.mrg", text);
  const json result = train_json({"--data", "ptb:" + file, "--model", "lstm", "--loss",
                                  "every-node", "--save", folder / "run", "--epochs", "3"});
  EXPECT_EQ(result["data"]["classes"], 3);
  EXPECT_EQ(result["test"]["nodes"], 9);
  const Output output = run({"eval", "--load", folder / "run", "--data", "saved", "--confusion"});
  EXPECT_EQ(output.status, 0) << output.err;
  EXPECT_NE(output.out.find("truth \\ predicted"), std::string::npos) << output.out;
  EXPECT_NE(output.out.find("NN"), std::string::npos) << output.out;

  const Output unlabelled = run(tiny_training({"--data", "ptb:" + file, "--model", "lstm"}));
  EXPECT_EQ(unlabelled.status, 1);
  EXPECT_NE(unlabelled.err.find("found no label at its root"), std::string::npos) << unlabelled.err;
}

TEST(Train, WordsOfConlluAreTagged) {
  const TemporaryFolder folder;
  const auto write = [&](const std::string& split, int sentences) {
    std::string text;
    for (int i = 0; i < sentences; ++i)
      text += "# sentence\n1\tthe\t_\tDET\t_\t_\t2\t_\t_\t_\n2\tw" + std::to_string(i % 4) +
              "\t_\tNOUN\t_\t_\t0\t_\t_\t_\n\n";
    folder.write("x-" + split + ".conllu", text);
  };
  write("train", 40);
  write("dev", 5);
  write("test", 6);
  const std::string data = "conllu:" + folder.path();
  const json result =
      train_json({"--data", data, "--model", "lstm", "--save", folder / "run", "--lr", "0.05"});
  EXPECT_EQ(result["options"]["loss"], "every-node") << "by the recipe";
  EXPECT_EQ(result["options"]["optimizer"], "adam");
  EXPECT_EQ(result["data"]["classes"], 17);
  EXPECT_EQ(result["test"]["nodes"], 12);
  EXPECT_EQ(result["test"]["accuracy"], 1.0);
  const Output output = run({"eval", "--load", folder / "run", "--data", "saved", "--confusion"});
  EXPECT_EQ(output.status, 0) << output.err;
  EXPECT_NE(output.out.find("SCONJ"), std::string::npos) << output.out;
  const Output schedule = run({"schedule", "--data", data, "--model", "lstm", "--batch", "3",
                               "--share", "off", "--hoist", "off"});
  EXPECT_EQ(schedule.status, 0) << schedule.err;
  EXPECT_NE(schedule.out.find("3 examples, 15 instances"), std::string::npos) << schedule.out;
}

TEST(Train, PipedOutputIsPlainLines) {
  const Output output =
      run(tiny_training(), {.environment = {{"FORCE_COLOR", "1"}, {"TERM", "xterm"}}});
  EXPECT_EQ(output.status, 0);
  EXPECT_EQ((output.out + output.err).find_first_of("\r\x1b"), std::string::npos) << output.err;
  EXPECT_NE(output.err.find("epoch 2/2 | loss "), std::string::npos) << output.err;
  EXPECT_NE(output.out.find("test accuracy 0."), std::string::npos) << output.out;
  EXPECT_NE(output.out.find(" examples/s"), std::string::npos) << output.out;
}

TEST(Train, ATerminalShowsABarAndNoColorHolds) {
  CommandOptions options{.environment = {{"TERM", "xterm"}, {"NO_COLOR", ""}, {"FORCE_COLOR", ""}},
                         .terminal = true};
  const std::string green = "\x1b[32m";
  const TemporaryFolder folder;
  const Output colored = run(tiny_training({"--save", folder / "run"}), options);
  EXPECT_NE(colored.out.find("\repoch 1/2:"), std::string::npos) << colored.out;
  EXPECT_NE(colored.out.find(green), std::string::npos) << colored.out;
  const std::string log = read_file(folder / "run/training.log");
  EXPECT_EQ(log.find_first_of("\r\x1b"), std::string::npos) << log;
  EXPECT_NE(log.find("\nepoch 1/2 | loss "), std::string::npos) << log;
  options.environment["NO_COLOR"] = "1";
  const Output plain = run(tiny_training(), options);
  EXPECT_NE(plain.out.find("\repoch 1/2:"), std::string::npos);
  EXPECT_EQ(plain.out.find(green), std::string::npos);
  EXPECT_NE(run(tiny_training({"--color", "always"}), options).out.find(green), std::string::npos);
}

void expect_saved_after(int signal) {
  for (const char* moment : {"strategy phase", "epoch 1/"}) {
    const TemporaryFolder folder;
    Process process(
        tiny_training({"--epochs", "100000", "--examples", "1000", "--save", folder / "run"}));
    ASSERT_TRUE(process.wait_for_error_text(moment));
    process.signal(signal);
    const Output output = process.wait();
    EXPECT_EQ(output.status, 128 + signal) << output.err;
    EXPECT_NE(output.err.find("the model is saved in"), std::string::npos) << output.err;
    const Output loaded = run({"eval", "--load", folder / "run"});
    EXPECT_EQ(loaded.status, 0) << loaded.err;
    EXPECT_TRUE(json::parse(read_file(folder / "run/metrics.json"))["interrupted"]);
  }
}

TEST(Train, InterruptSavesAndExitsWith130) { expect_saved_after(SIGINT); }
TEST(Train, TerminationSavesAndExitsWith143) { expect_saved_after(SIGTERM); }
TEST(Train, HangUpSavesAndExitsWith129) { expect_saved_after(SIGHUP); }

TEST(Train, ATerminalThatGoesAwayIsAHangUp) {
  const TemporaryFolder folder;
  Process process(
      tiny_training({"--epochs", "100000", "--examples", "1000", "--save", folder / "run"}),
      {.terminal = true});
  ASSERT_TRUE(process.wait_for_text("epoch 1/100000 |"));
  process.hang_up();
  EXPECT_EQ(process.wait().status, 128 + SIGHUP) << "though nobody reads its stdout";
  EXPECT_TRUE(json::parse(read_file(folder / "run/metrics.json"))["interrupted"]);
}

TEST(Train, SignalsThatAreIgnoredStayIgnored) {
  const TemporaryFolder folder;
  Process process(tiny_training({"--epochs", "100000", "--examples", "1000"}),
                  {.ignored = {SIGINT, SIGHUP}});
  ASSERT_TRUE(process.wait_for_error_text("epoch 1/"));
  process.signal(SIGINT);
  process.signal(SIGHUP);
  ASSERT_TRUE(process.wait_for_error_text("epoch 10/"));
  process.signal(SIGTERM);
  EXPECT_EQ(process.wait().status, 128 + SIGTERM);
}

TEST(Train, ProcessesShareAKernelCache) {
  const TemporaryFolder folder;
  const CommandOptions options{.environment = {{"XDG_CACHE_HOME", folder / "cache"}}};
  const auto arguments = [&](const std::string& name) {
    return tiny_training({"--json", folder / name});
  };
  Process one(arguments("1.json"), options), two(arguments("2.json"), options);
  EXPECT_EQ(one.wait().status, 0);
  EXPECT_EQ(two.wait().status, 0);
  EXPECT_EQ(run(arguments("3.json"), options).status, 0);
  const auto result = [&](const char* name) { return json::parse(read_file(folder / name)); };
  EXPECT_EQ(reproducible(result("1.json")), reproducible(result("2.json")));
  EXPECT_EQ(reproducible(result("1.json")), reproducible(result("3.json")));
  EXPECT_EQ(result("3.json")["kernels"]["compiled"], 0);
  EXPECT_GT(result("3.json")["kernels"]["from_disk"], 0);
}

}  // namespace
}  // namespace espalier::app
