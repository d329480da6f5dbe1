// Data as the command is given it: the forms of files that others publish, dependency trees, and
// evaluation of as little as one tree.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/app/command.h"

namespace espalier::app {
namespace {

using nlohmann::json;

void expect_contains(const std::string& text, std::string_view part) {
  EXPECT_NE(text.find(part), std::string::npos) << "no '" << part << "' in:\n" << text;
}

std::string word(int id, const std::string& form, const std::string& tag, int head) {
  return std::to_string(id) + "\t" + form + "\t_\t" + tag + "\t_\t_\t" + std::to_string(head) +
         "\t_\t_\t_\n";
}

/// Four words whose heads make a chain, or a star.
std::string sentence(bool chain) {
  std::string text;
  for (int id = 1; id <= 4; ++id)
    text += word(id, "w" + std::to_string(id), id % 2 ? "NOUN" : "VERB",
                 chain ? id - 1 : std::min(id - 1, 1));
  return text + "\n";
}

std::string write_conllu(const TemporaryFolder& folder, const std::string& name,
                         const std::string& text) {
  for (const char* split : {"train", "dev", "test"})
    folder.write(name + "/x-" + split + ".conllu", text);
  return "conllu:" + folder / name;
}

TEST(Data, HeadsMakeTheTreeThatChildSumReads) {
  const TemporaryFolder folder;
  const auto levels = [&](const std::string& model, bool chain) {
    const std::string data = write_conllu(folder, chain ? "chain" : "star", sentence(chain));
    const Output output = run({"schedule", "--data", data, "--model", model, "--share", "off",
                               "--hoist", "off", "--strategy", "phase", "--format", "json"});
    EXPECT_EQ(output.status, 0) << output.err;
    const json report = json::parse(output.out, nullptr, false);
    EXPECT_EQ(report["instances"], model == "lstm" ? 9 : 8) << "each word, and its loss";
    return report["batches"].size();
  };
  EXPECT_EQ(levels("child_sum_tree_lstm", true), 5u) << "four words one above the other, losses";
  EXPECT_EQ(levels("child_sum_tree_lstm", false), 3u) << "dependents, the root, losses";
  EXPECT_EQ(levels("lstm", true), levels("lstm", false)) << "the words in their order";

  const Output trained = run(tiny_training(
      {"--data", "conllu:" + folder / "chain", "--model", "child_sum_tree_lstm", "--json", "-"}));
  EXPECT_EQ(trained.status, 0) << trained.err;
  EXPECT_EQ(json::parse(trained.out, nullptr, false)["test"]["nodes"], 4) << "no node but words";

  const Output binary = run(tiny_training({"--data", "conllu:" + folder / "chain"}));
  EXPECT_EQ(binary.status, 1);
  expect_contains(binary.err, "tree_lstm reads binary trees only, child_sum_tree_lstm any");
  const std::string loop = word(1, "a", "X", 0) + word(2, "b", "X", 2) + "\n";
  const Output cycle = run(tiny_training(
      {"--data", write_conllu(folder, "loop", loop), "--model", "child_sum_tree_lstm"}));
  EXPECT_EQ(cycle.status, 1);
  expect_contains(cycle.err, folder / "loop/x-train.conllu:2:13: found '2', expected a HEAD that");
}

TEST(Data, EvalNeedsOnlyWhatItEvaluates) {
  const TemporaryFolder folder;
  const std::string tree = "(1 (0 good) (1 film))\n";
  const std::string many = folder.write("many", tree + tree + tree + tree + tree);
  const std::string one = folder.write("one", tree);
  ASSERT_EQ(
      run(tiny_training({"--data", "ptb:" + many, "--save", folder / "run", "--examples", "2"}))
          .status,
      0);
  const auto examples = [&](const std::string& run_folder, const Arguments& more) {
    Arguments arguments = {"eval", "--load", run_folder, "--json", "-"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Output output = run(arguments);
    EXPECT_EQ(output.status, 0) << output.err;
    const json result = json::parse(output.out, nullptr, false);
    return result.is_object() ? result["metrics"]["examples"].get<int>() : -1;
  };
  EXPECT_EQ(examples(folder / "run", {"--data", "ptb:" + one, "--split", "all"}), 1);
  EXPECT_EQ(examples(folder / "run", {"--data", "ptb:" + one}), 1);
  EXPECT_EQ(examples(folder / "run", {"--data", "saved", "--split", "train"}), 2)
      << "what was trained on";
  EXPECT_EQ(examples(folder / "run", {"--data", "saved", "--split", "all"}), 5)
      << "every example of the file";
  const Output dev =
      run({"eval", "--load", folder / "run", "--data", "ptb:" + one, "--split", "dev"});
  EXPECT_EQ(dev.status, 1);
  expect_contains(dev.err, "found 1 tree, of which the last is test");

  const std::string data = write_conllu(folder, "ud", sentence(true));
  ASSERT_EQ(
      run(tiny_training({"--data", data, "--model", "lstm", "--save", folder / "tagger"})).status,
      0);
  folder.write("only_test/x-test.conllu", sentence(true) + sentence(false));
  for (const char* split : {"test", "all"})
    EXPECT_EQ(
        examples(folder / "tagger", {"--data", "conllu:" + folder / "only_test", "--split", split}),
        2);
}

TEST(Data, WhatIsToleratedIsSaidOnceAFile) {
  const TemporaryFolder folder;
  const std::string data = write_conllu(folder, "ud", sentence(true));
  folder.write("ud/x-dev.conllu", "\uFEFF\n\n" + sentence(false));
  const std::string note =
      "note: " +
      folder / "ud/x-dev.conllu: accepted byte order mark (1), empty lines too many (2)\n";
  const Output trained =
      run(tiny_training({"--data", data, "--model", "lstm", "--save", folder / "run"}));
  EXPECT_EQ(trained.status, 0) << trained.err;
  expect_contains(trained.err, note);
  EXPECT_EQ(trained.err.find("note:"), trained.err.rfind("note:")) << trained.err;
  expect_contains(read_file(folder / "run/training.log"), note);
  for (const Arguments& arguments :
       {Arguments{"eval", "--load", folder / "run", "--data", "saved", "--split", "dev"},
        {"schedule", "--data", data, "--model", "lstm"},
        {"bench", "step", "--data", data, "--model", "lstm", "--hidden", "4", "--embed", "4",
         "--batch", "1", "--seconds", "0.01"}}) {
    const Output output = run(arguments);
    EXPECT_EQ(output.status, 0) << output.err;
    expect_contains(output.err, "espalier: " + note);
  }
}

TEST(Data, HomeIsExpandedBehindTheKind) {
  const TemporaryFolder folder;
  folder.write("trees", "(0 a)\n(1 b)\n(0 c)\n");
  const CommandOptions home{.environment = {{"HOME", folder.path()}}};
  Output output = run(tiny_training({"--data", "ptb:~/trees"}), home);
  EXPECT_EQ(output.status, 0) << output.err;
  for (const std::string kind : {"ptb", "listops", "sst", "conllu"}) {
    output = run(tiny_training({"--data", kind + ":~/none", "--model", "lstm"}), home);
    EXPECT_EQ(output.status, 1);
    expect_contains(output.err, "error: " + folder / "none: ");
  }
  output = run(tiny_training({"--data", "ptb:~other/trees"}), home);
  expect_contains(output.err, "error: ~other/trees: ");
}

TEST(Data, HelpSaysWhatTheKindsAre) {
  for (const char* verb : {"train", "eval", "schedule"}) {
    const Output help = run({verb, "--help"});
    expect_contains(help.out, "ptb:FILE: bracket trees with any labels");
    expect_contains(help.out, "last tenth is test, the tenth before it dev");
  }
}

}  // namespace
}  // namespace espalier::app
