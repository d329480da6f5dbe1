// `espalier eval`: what it refuses to measure.
#include <gtest/gtest.h>

#include <cmath>
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

}  // namespace
}  // namespace espalier::app
