// What the command says where it does nothing: help, versions, and all kinds of complaints with
// their exits.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "tests/app/command.h"

namespace espalier::app {
namespace {

void expect_contains(const std::string& text, std::string_view part) {
  EXPECT_NE(text.find(part), std::string::npos) << "no '" << part << "' in:\n" << text;
}

TEST(Usage, HelpGoesToStdout) {
  for (const Arguments& arguments : {Arguments{"--help"},
                                     {"train", "--help"},
                                     {"eval", "--help"},
                                     {"schedule", "--help"},
                                     {"ir", "--help"},
                                     {"bench", "--help"},
                                     {"bench", "step", "--help"},
                                     {"bench", "device", "--help"},
                                     {"info", "--help"}}) {
    const Output output = run(arguments);
    EXPECT_EQ(output.status, 0);
    expect_contains(output.out, "Usage: espalier");
    EXPECT_EQ(output.err, "");
  }
  const Output help = run({"--help"});
  for (std::string_view verb : {"train", "eval", "schedule", "ir", "bench", "info"})
    expect_contains(help.out, verb);
}

TEST(Usage, VersionIsALine) {
  const Output output = run({"--version"});
  EXPECT_EQ(output.status, 0);
  EXPECT_EQ(output.out.rfind("espalier ", 0), 0u) << output.out;
  EXPECT_EQ(output.out.find('\n'), output.out.size() - 1);
}

TEST(Usage, InfoNamesWhatThereIs) {
  const Output output = run({"info"});
  EXPECT_EQ(output.status, 0);
  for (std::string_view part : {"llvm", "cuda", "portable", "cache"})
    expect_contains(output.out, part);
}

TEST(Usage, WrongCommandLinesExitWithTwo) {
  const struct {
    Arguments arguments;
    std::string_view message;
  } cases[] = {
      {{}, "subcommand is required"},
      {{"trian", "--data", "listops"}, "unknown verb 'trian'"},
      {{"trian"}, "nearest: 'train'"},
      {{"trian", "--help"}, "unknown verb 'trian'"},
      {{"--help", "trian"}, "unknown verb 'trian'"},
      {{"trian", "--version"}, "unknown verb 'trian'"},
      {{"train"}, "--data is required"},
      {{"train", "--data", "listops", "--hiden", "3"},
       "unknown flag '--hiden'; nearest: '--hidden'"},
      {{"train", "--data", "listops", "listops"}, "unexpected 'listops'"},
      {{"train", "--data", "listops", "--model", "tree_lst"}, "nearest: 'tree_lstm'"},
      {{"train", "--data", "listops", "--strategy", "agnda"}, "one of unbatched, depth, agenda"},
      {{"train", "--data", "listops", "--optimizer", "adan"}, "nearest: 'adam'"},
      {{"train", "--data", "listops", "--lr-schedule", "cosin"}, "nearest: 'cosine'"},
      {{"train", "--data", "listops", "--target", "sse"}, "portable"},
      {{"train", "--data", "listops", "--loss", "leaf"}, "every-node, root"},
      {{"train", "--data", "listops", "--learning-rate", "1"}, "here it is '--lr'"},
      {{"train", "--data", "listops", "-lr", "1"}, "unknown flag '-lr'; here it is '--lr'"},
      {{"train", "--data", "listops", "--Batch_Size=3"}, "here it is '--batch'"},
      {{"train", "--data", "listops", "--embed_lr", "1"}, "here it is '--embed-lr'"},
      {{"train", "--data", "listops", "--glove", "vectors.txt"},
       "unknown flag '--glove'; here it is '--embed', the size of word vectors"},
      {{"train", "--data", "listops", "--weight-decay", "0"}, "here it is '--l2'"},
      {{"train", "--data", "listops", "--checkpoint", "m"}, "here it is '--save'"},
      {{"eval", "--checkpoint", "m"}, "here it is '--load'"},
      {{"train", "--data", "listops", "--save", ""}, "--save: found '', expected a name"},
      {{"train", "--data", "listops", "--json", ""}, "--json: found '', expected a name"},
      {{"train", "--data", "saved"}, "found 'saved', expected listops"},
      {{"eval", "--load", ""}, "--load: found '', expected a name"},
      {{"bench", "step", "--data", "listops", "--load-weights", ""}, "--load-weights: found ''"},
      {{"bench", "step", "--data", "listops", "--json", ""}, "--json: found ''"},
      {{"train", "--data", "listops", "--hidden", "0"},
       "found '0', expected a whole number from 1"},
      {{"train", "--data", "listops", "--hidden", "1000000000"}, "to 65536"},
      {{"train", "--data", "listops", "--seed", "-1"}, "found '-1'"},
      {{"train", "--data", "listops", "--lr", "nan"}, "found 'nan'"},
      {{"train", "--data", "listops", "--dropout", "nan"}, "found 'nan'"},
      {{"train", "--data", "imdb"}, "found 'imdb', expected listops, listops:FILE"},
      {{"train", "--data", "sst:"}, "found 'sst:'"},
      {{"train", "--data", "conllu:"}, "found 'conllu:'"},
      {{"train", "--data", "listops", "--hidden", "many"}, "--hidden"},
      {{"train", "--data", "listops", "--dropout", "1"}, "--dropout"},
      {{"train", "--data", "listops", "--lr", "-1"}, "--lr"},
      {{"train", "--data", "listops", "--memory-limit", "2T"},
       "found '2T', expected bytes such as"},
      {{"train", "--data", "listops", "--memory-limit", "9999999999G"}, "found '9999999999G'"},
      {{"train", "--data", "listops", "--contractions", "cubla"}, "nearest: 'cublas'"},
      {{"train", "--data", "listops", "--share", "yes"}, "on, off"},
      {{"train", "--data", "listops", "--precision", "fp8"}, "single, tf32, bf16"},
      {{"train", "--data", "listops", "--momentum", "0.9"}, "--optimizer sgd"},
      {{"train", "--data", "ptb:trees", "--max-tokens", "9"}, "--data listops"},
      {{"eval"}, "--load is required"},
      {{"ir", "lstn"}, "nearest: 'lstm'"},
      {{"ir", "lstm", "--pass", "simplfy"}, "nearest: 'simplify'"},
      {{"schedule", "--data", "listops", "--format", "yaml"}, "text, dot, json"},
      {{"bench"}, "subcommand is required"},
      {{"bench", "stp"}, "unknown verb 'stp': expected one of step, device"},
      {{"bench", "step"}, "--data is required"},
      {{"bench", "step", "--data", "listops", "--bach", "3"}, "nearest: '--batch'"},
      {{"bench", "step", "--data", "listops", "--pass", "backward"}, "train, forward"},
      {{"bench", "step", "--data", "listops", "--persistent", "yes"}, "auto, on, off"},
  };
  for (const auto& [arguments, message] : cases) {
    const Output output = run(arguments);
    EXPECT_EQ(output.status, 2) << message;
    EXPECT_EQ(output.out, "");
    EXPECT_EQ(output.err.rfind("espalier: error: ", 0), 0u) << output.err;
    expect_contains(output.err, message);
    expect_contains(output.err, "--help'.");
  }
}

TEST(Usage, FailuresExitWithOne) {
  const TemporaryFolder folder;
  const std::string good = "(3 (2 a) (4 b))\n";
  folder.write("sst/train.txt", good + "(3 (2 a) (7 b))\n");
  folder.write("sst/dev.txt", good);
  folder.write("sst/test.txt", good);
  folder.write("ops.tsv", "3\t( [MAX 3\n");
  folder.write("wide.ptb", "(0 (1 a) (2 b))\n(0 (1 a) (2 b) (3 c))\n");
  folder.write("bare.ptb", "(a)\n(b)\n(c)\n");
  folder.write("latin.ptb", "(\xe9 a)\n(1 b)\n(1 c)\n");
  const struct {
    Arguments arguments;
    std::string message;
  } cases[] = {
      {tiny_training({"--data", "ptb:" + folder / "latin.ptb", "--save", folder / "run"}),
       folder / "latin.ptb:1:2: found the label '\\xE9', expected UTF-8"},
      {tiny_training({"--data", "ptb:" + folder / "latin.ptb"}),
       folder / "latin.ptb:1:2: found the label '\\xE9', expected UTF-8"},
      {tiny_training({"--data", "ptb:/proc/self/mem"}),
       "error: /proc/self/mem: cannot read the file: Input/output error\n"},
      {tiny_training({"--data", "ptb:/dev/full"}), "/dev/full: found a device, expected a file"},
      {tiny_training({"--data", "sst:" + folder / "sst"}),
       folder /
           "sst/train.txt:2:11: found '7', expected a label 0..4 (ptb:FILE may hold any labels)"},
      {tiny_training({"--data", "listops:" + folder / "ops.tsv"}), folder / "ops.tsv:1:"},
      {tiny_training({"--data", "sst:" + folder / "none"}), folder / "none"},
      {tiny_training({"--data", "ptb:" + folder / "wide.ptb"}),
       folder / "wide.ptb:2:16: found '(', expected ')' after two children (tree_lstm reads binary "
                "trees only, child_sum_tree_lstm any)"},
      {tiny_training({"--data", "ptb:" + folder / "bare.ptb"}), "found no tree with a label"},
      {{"schedule", "--data", "ptb:" + folder / "bare.ptb"}, "found no tree with a label"},
      {tiny_training({"--json", folder / "none/x"}), "is no folder"},
      {tiny_training({"--json", folder / "sst"}), "expected a file"},
      // No file can be made there, by root neither.
      {tiny_training({"--json", "/proc/espalier.json"}), "/proc/espalier.json: cannot write"},
      {tiny_training({"--data", "ptb:" + folder / "none", "--save", folder / "run"}), "none"},
      {tiny_training({"--examples", "2"}), "at least 3"},
      {tiny_training({"--device", "cuda"}), "device 'cuda' was asked for, but "},
      {tiny_training({"--device", "cpu", "--precision", "tf32"}), "but the engine runs on a CPU"},
      {tiny_training({"--persistent", "on", "--contractions", "cublas"}),
       "found persistent 'on' with contractions 'cublas', expected persistent 'auto' or 'off'"},
      {tiny_training({"--persistent", "on", "--precision", "tf32"}),
       "found persistent 'on' with precision 'tf32', expected persistent 'auto' or 'off'"},
      {tiny_training({"--contractions", "tile", "--precision", "bf16"}),
       "found precision 'bf16', expected 'single', or contractions 'auto' or 'cublas'"},
      {tiny_training({"--device", "cpu", "--contractions", "cublas"}),
       "but the engine runs on a CPU"},
      {tiny_training({"--memory-limit", "1K"}), "the memory limit is 1.0 KiB, but the model"},
      {tiny_training({"--memory-limit", "20K"}), "the memory limit is 20.0 KiB, but one example"},
      {{"eval", "--load", folder / "none"}, folder / "none"},
      {{"ir", "lstm", "--cell", "nod"}, "expected one of"},
      {tiny_training({"--save", "/dev/null/run"}), "cannot make the folder"},
  };
  // A machine that has a GPU hides it.
  const CommandOptions without_gpu{.environment = {{"CUDA_VISIBLE_DEVICES", "-1"}}};
  for (const auto& [arguments, message] : cases) {
    const Output output = run(arguments, without_gpu);
    EXPECT_EQ(output.status, 1) << message;
    EXPECT_EQ(output.out, "");
    expect_contains(output.err, "espalier: error: ");
    expect_contains(output.err, message);
    EXPECT_EQ(output.err.find("epoch 1/"), std::string::npos) << "known before training";
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "run")) << "nothing was saved";
}

TEST(Usage, NamesOfFilesNeedNotBeUtf8) {
  const TemporaryFolder folder;
  const std::string data = "ptb:" + folder.write("\xe9.ptb", "(0 a)\n(1 b)\n(1 c)\n");
  const Output trained = run(tiny_training({"--data", data, "--json", folder / "out.json"}));
  EXPECT_EQ(trained.status, 0) << trained.err;
  EXPECT_TRUE(nlohmann::json::accept(read_file(folder / "out.json")));
  // It cannot be kept in model.json, which is said before anything is trained.
  const Output saved = run(tiny_training({"--data", data, "--save", folder / "run"}));
  EXPECT_EQ(saved.status, 1);
  expect_contains(saved.err, "--data " + data + ": found byte 0xE9 in the path, expected UTF-8");
  EXPECT_EQ(saved.err.find("epoch"), std::string::npos) << saved.err;
}

TEST(Usage, AFullStdoutIsAFailure) {
  for (const Arguments& arguments :
       {Arguments{"--help"}, {"--version"}, {"train", "--help"}, {"info"}, {"ir", "lstm"}}) {
    const Output output = run(arguments, {.streams = {{1, "/dev/full"}}});
    EXPECT_EQ(output.status, 1) << arguments.front();
    EXPECT_EQ(output.err, "espalier: error: stdout: cannot be written\n");
  }
}

TEST(Usage, ClosedStreamsAreNotTheFilesOfTheRun) {
  const TemporaryFolder folder;
  Output output = run(tiny_training({"--save", folder / "run"}), {.streams = {{1, ""}}});
  EXPECT_EQ(output.status, 1);
  expect_contains(output.err, "stdout: cannot be written");
  const std::string log = read_file(folder / "run/training.log");
  expect_contains(log, "epoch 2/2");
  EXPECT_EQ(log.find("test accuracy"), std::string::npos) << log;

  output = run(tiny_training({"--save", folder / "run", "--overwrite"}),
               {.streams = {{0, ""}, {2, ""}}});
  EXPECT_EQ(output.status, 0);
  expect_contains(output.out, "test accuracy");
  const std::string quiet = read_file(folder / "run/training.log");
  EXPECT_EQ(quiet.find("epoch 1/2"), quiet.rfind("epoch 1/2")) << quiet;
  EXPECT_EQ(run({"eval", "--load", folder / "run"}).status, 0);
}

TEST(Usage, JsonIsWrittenIntoWhatIsNoFile) {
  const TemporaryFolder folder;
  const std::string pipe = folder / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  Process writer(tiny_training({"--json", pipe}));
  std::ifstream stream(pipe);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  EXPECT_EQ(writer.wait().status, 0);
  EXPECT_TRUE(nlohmann::json::accept(text)) << text;
  EXPECT_TRUE(std::filesystem::is_fifo(pipe));
}

}  // namespace
}  // namespace espalier::app
