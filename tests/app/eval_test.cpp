// `espalier eval`: what it refuses to measure.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/app/command.h"

namespace espalier::app {
namespace {

/// Overwrites the last number of a safetensors file, which lies at its end.
void spoil_weights(const std::string& file, float value) {
  std::string bytes = read_file(file);
  bytes.replace(bytes.size() - sizeof value, sizeof value,
                std::string(reinterpret_cast<const char*>(&value), sizeof value));
  std::ofstream(file, std::ios::binary) << bytes;
}

TEST(Eval, WeightsThatAreNotFiniteMustBeAllowed) {
  const TemporaryFolder folder;
  train_json({"--save", folder / "run", "--epochs", "1"});
  spoil_weights(folder / "run/model.safetensors", std::nanf(""));
  const Output refused = run({"eval", "--load", folder / "run"});
  EXPECT_EQ(refused.status, 1);
  EXPECT_EQ(refused.out, "");
  EXPECT_NE(refused.err.find("model.safetensors: param '"), std::string::npos) << refused.err;
  EXPECT_NE(refused.err.find("': found nan at ["), std::string::npos) << refused.err;
  EXPECT_EQ(run({"eval", "--load", folder / "run", "--allow-non-finite"}).status, 0);
  const Output bench = run({"bench", "step", "--data", "listops", "--examples", "60", "--hidden",
                            "8", "--embed", "6", "--max-tokens", "20", "--batch", "16", "--seconds",
                            "0.01", "--load-weights", folder / "run/model.safetensors"});
  EXPECT_EQ(bench.status, 1);
  EXPECT_NE(bench.err.find("': found nan at ["), std::string::npos) << bench.err;
}

/// Numbers so large that every score overflows.
TEST(Eval, ScoresThatAreNotFiniteMustBeAllowed) {
  const TemporaryFolder folder;
  train_json({"--save", folder / "run", "--epochs", "1"});
  std::string weights = read_file(folder / "run/model.safetensors");
  std::uint64_t header = 0;
  std::memcpy(&header, weights.data(), sizeof header);
  const float large = 3e38F;
  for (std::size_t at = sizeof header + header; at < weights.size(); at += sizeof large)
    std::memcpy(&weights[at], &large, sizeof large);
  folder.write("run/model.safetensors", weights);
  const Output refused = run({"eval", "--load", folder / "run"});
  EXPECT_EQ(refused.status, 1);
  EXPECT_EQ(refused.out, "");
  EXPECT_NE(refused.err.find("found scores that are not finite for "), std::string::npos)
      << refused.err;
  const Output allowed =
      run({"eval", "--load", folder / "run", "--allow-non-finite", "--json", "-"});
  EXPECT_EQ(allowed.status, 0) << allowed.err;
  EXPECT_GT(nlohmann::json::parse(allowed.out)["metrics"]["non_finite_nodes"], 0);
}

TEST(Eval, DataOfASavedModelIsReadOnlyIfItIsNamed) {
  const TemporaryFolder folder, elsewhere;
  std::string trees;
  for (int i = 0; i < 30; ++i) trees += "(1 (0 good) (1 film))\n";
  folder.write("trees.txt", trees);
  const Output trained =
      run(tiny_training({"--data", "ptb:trees.txt", "--save", "run"}), {.folder = folder.path()});
  ASSERT_EQ(trained.status, 0) << trained.err;
  const auto eval = [&](const Arguments& more) {
    Arguments arguments = {"eval", "--load", folder / "run"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments, {.folder = elsewhere.path()});
  };
  const std::string data = std::filesystem::canonical(folder.path()).string() + "/trees.txt";
  const Output unnamed = eval({});
  EXPECT_EQ(unnamed.status, 2);
  EXPECT_NE(unnamed.err.find("--data is required: " + folder / "run" +
                             " was trained on 'ptb:" + data + "', which '--data saved' reads"),
            std::string::npos)
      << unnamed.err;
  const Output named = eval({"--data", "saved"});
  EXPECT_EQ(named.status, 0) << named.err;
  EXPECT_EQ(eval({"--data", "ptb:" + data, "--json", "-"}).status, 0);
  std::filesystem::remove(data);
  const Output gone = eval({"--data", "saved"});
  EXPECT_EQ(gone.status, 1);
  EXPECT_NE(gone.err.find(data + ": cannot open the file"), std::string::npos) << gone.err;
  EXPECT_NE(gone.err.find("--data names others"), std::string::npos) << gone.err;
}

TEST(Eval, SettingsAreHeldToTheRangesOfTheirFlags) {
  const TemporaryFolder folder;
  train_json({"--save", folder / "run", "--epochs", "1"});
  const nlohmann::json model = nlohmann::json::parse(read_file(folder / "run/model.json"));
  const auto complaint = [&](const char* name, const nlohmann::json& value) {
    nlohmann::json changed = model;
    changed["settings"][name] = value;
    folder.write("run/model.json", changed.dump());
    const Output output = run({"eval", "--load", folder / "run"});
    EXPECT_EQ(output.status, 1) << name;
    return output.err;
  };
  for (const char* name : {"vocabulary", "embed", "hidden", "classes", "batch", "max_tokens"})
    for (const std::int64_t value : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1} << 40})
      EXPECT_NE(complaint(name, value)
                    .find(fmt::format("setting '{}': found {}, expected 1 to ", name, value)),
                std::string::npos);
  EXPECT_NE(complaint("examples", -1).find("setting 'examples': found -1, expected 0 to"),
            std::string::npos);
  EXPECT_NE(complaint("dropout", 1.0).find("setting 'dropout': found 1, expected 0 to 0.999"),
            std::string::npos);
  EXPECT_NE(complaint("data_seed", "-1").find("setting 'data_seed': found -1"), std::string::npos);
  EXPECT_NE(complaint("hidden", 0).find(folder / "run" + ": setting 'hidden'"), std::string::npos);
  EXPECT_LT(complaint("loss", std::string(100'000, 'x')).size(), 500u);
  EXPECT_LT(complaint("data", "ptb:" + std::string(100'000, 'x')).size(), 500u);
  EXPECT_EQ(complaint("data", "ptb:\x1b[31m").find('\x1b'), std::string::npos);
  EXPECT_LT(complaint("data_seed", std::string(100'000, 'x')).size(), 500u);
  for (const std::string& name : {std::string(100'000, 'q'), std::string("\x1b[31m")}) {
    nlohmann::json changed = model;
    changed["model"] = name;
    folder.write("run/model.json", changed.dump());
    const Output output = run({"eval", "--load", folder / "run"});
    EXPECT_EQ(output.status, 1);
    EXPECT_LT(output.err.size(), 500u);
    EXPECT_EQ(output.err.find('\x1b'), std::string::npos);
  }
  folder.write("run/model.json", model.dump() + std::string(1, '\0') + "more");
  const Output behind = run({"eval", "--load", folder / "run"});
  EXPECT_EQ(behind.status, 1);
  EXPECT_NE(behind.err.find("found a byte 0"), std::string::npos) << behind.err;
}

}  // namespace
}  // namespace espalier::app
