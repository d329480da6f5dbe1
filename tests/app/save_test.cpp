// `--save`: one run in a folder at a time, and no model is lost that nobody meant to replace.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/app/command.h"

namespace espalier::app {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

int hidden_of(const std::string& file, const char* object) {
  const json document = json::parse(read_file(file));
  return object ? document[object]["hidden"] : document["hidden"];
}

/// Whether model.json, config.json and metrics.json are of one run; a metrics.json may be missing.
void expect_one_run(const std::string& folder, int hidden, bool metrics) {
  EXPECT_EQ(hidden_of(folder + "/model.json", "settings"), hidden);
  EXPECT_EQ(hidden_of(folder + "/config.json", nullptr), hidden);
  EXPECT_EQ(fs::exists(folder + "/metrics.json"), metrics);
  if (metrics) {
    EXPECT_EQ(hidden_of(folder + "/metrics.json", "options"), hidden);
  }
  const Output output = run({"eval", "--load", folder});
  EXPECT_EQ(output.status, 0) << output.err;
}

TEST(Save, ASecondRunIntoTheFolderIsRefused) {
  const TemporaryFolder folder;
  Process first(
      tiny_training({"--epochs", "100000", "--examples", "1000", "--save", folder / "run"}));
  ASSERT_TRUE(first.wait_for_error_text("epoch 1/"));
  for (const Arguments& more : {Arguments{}, {"--overwrite"}}) {
    Arguments arguments = tiny_training({"--hidden", "9", "--save", folder / "run"});
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Output second = run(arguments);
    EXPECT_EQ(second.status, 1);
    EXPECT_NE(second.err.find(folder / "run" + ": found it in use by pid "), std::string::npos)
        << second.err;
    EXPECT_EQ(second.err.find("epoch 1/"), std::string::npos) << second.err;
  }
  first.signal(SIGTERM);
  EXPECT_EQ(first.wait().status, 128 + SIGTERM);
  expect_one_run(folder / "run", 8, true);
  EXPECT_FALSE(fs::exists(folder / "run/.lock"));
}

TEST(Save, AModelIsReplacedOnlyIfThatIsAskedFor) {
  const TemporaryFolder folder;
  const auto train = [&](const Arguments& more) {
    Arguments arguments = tiny_training(more);
    arguments.insert(arguments.end(), {"--save", folder / "run"});
    return run(arguments);
  };
  EXPECT_EQ(train({}).status, 0);
  const std::string log = read_file(folder / "run/training.log");
  const Output refused = train({"--hidden", "9"});
  EXPECT_EQ(refused.status, 1);
  EXPECT_EQ(refused.err, "espalier: error: " + folder / "run" +
                             ": found a saved model, expected none (--overwrite replaces it)\n");
  EXPECT_EQ(read_file(folder / "run/training.log"), log);
  expect_one_run(folder / "run", 8, true);
  EXPECT_EQ(train({"--hidden", "9", "--overwrite"}).status, 0);
  expect_one_run(folder / "run", 9, true);
}

TEST(Save, ARunThatFailsLeavesTheLogOfTheModelThatWasThere) {
  const TemporaryFolder folder;
  ASSERT_EQ(run(tiny_training({"--save", folder / "run"})).status, 0);
  const std::string log = read_file(folder / "run/training.log");
  const Output failed =
      run(tiny_training({"--save", folder / "run", "--overwrite", "--optimizer", "sgd", "--lr",
                         "1000000", "--l2", "1000", "--batch", "1"}));
  EXPECT_EQ(failed.status, 1);
  EXPECT_NE(failed.err.find("diverged"), std::string::npos) << failed.err;
  EXPECT_EQ(read_file(folder / "run/training.log"), log);
  expect_one_run(folder / "run", 8, true);
}

TEST(Save, FilesOfOthersAreReplacedOnlyIfThatIsAskedFor) {
  for (const char* name : {"config.json", "training.log", "vocab.txt", "metrics.json"}) {
    const TemporaryFolder folder;
    const std::string file = folder.write(name, "mine");
    const Output refused = run(tiny_training({"--save", folder.path()}));
    EXPECT_EQ(refused.status, 1);
    EXPECT_NE(refused.err.find(std::string("found ") + name + ", expected none"), std::string::npos)
        << refused.err;
    EXPECT_EQ(read_file(file), "mine");
  }
}

TEST(Save, HomeIsExpandedWhereAShellDoesNotDoIt) {
  const TemporaryFolder home;
  const CommandOptions options{.environment = {{"HOME", home.path()}}};
  ASSERT_EQ(run(tiny_training({"--save=~/run", "--json=~/out.json"}), options).status, 0);
  EXPECT_TRUE(fs::exists(home / "run/model.json"));
  EXPECT_TRUE(fs::exists(home / "out.json"));
  EXPECT_EQ(run({"eval", "--load=~/run"}, options).status, 0);
}

TEST(Save, ARunThatIsKilledLeavesTheModelThatWasThereOrItsOwn) {
  const TemporaryFolder folder;
  ASSERT_EQ(run(tiny_training({"--save", folder / "run"})).status, 0);
  const auto kill_at = [&](const char* moment, const Arguments& more) {
    Arguments arguments = tiny_training(more);
    arguments.insert(arguments.end(), {"--save", folder / "run", "--overwrite"});
    Process process(arguments);
    EXPECT_TRUE(process.wait_for_error_text(moment));
    process.signal(SIGKILL);
    EXPECT_EQ(process.wait().status, -SIGKILL);
  };
  // Within the first epoch, which takes many seconds.
  kill_at("strategy phase", {"--hidden", "64", "--examples", "100000", "--batch", "1"});
  expect_one_run(folder / "run", 8, true);
  kill_at("epoch 2/", {"--hidden", "10", "--examples", "1000", "--epochs", "100000"});
  expect_one_run(folder / "run", 10, false);
  ASSERT_EQ(run(tiny_training({"--save", folder / "run", "--overwrite"})).status, 0);
  expect_one_run(folder / "run", 8, true);
  for (const auto& entry : fs::directory_iterator(folder / "run"))
    EXPECT_NE(entry.path().filename().string().front(), '.') << entry.path();
}

}  // namespace
}  // namespace espalier::app
