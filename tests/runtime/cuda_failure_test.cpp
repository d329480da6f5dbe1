// What an engine on a GPU goes on without when it fails: walking. Only the
// stand-in of cuda_engine_test.cpp can be made to fail.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>

#include "runtime/cuda.h"
#include "runtime/engine.h"
#include "tests/runtime/cuda_runs.h"
#include "tests/support/refusal.h"

namespace espalier::test {
namespace {

class CudaFailure : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = runtime::why_no_cuda(); !why.empty()) GTEST_SKIP() << why;
    if (runtime::find_cuda().gpus[0].name != "this machine's processor")
      GTEST_SKIP() << "only the stand-in fails when it is told to";
  }
  static EngineOptions settings(Persistent persistent, Gemm gemm) {
    EngineOptions result = options({"", "phase", "", 1});
    result.device = Device::cuda;
    result.persistent = persistent;
    result.gemm = gemm;
    return result;
  }
  Engine engine(const EngineOptions& options) const {
    Engine made(model_->program(), options);
    randomize(made, 4);
    return made;
  }
  Outcome run(Engine& engine) const { return outcome(engine, *model_, trees_, all(trees_)); }
  std::int64_t held(Engine& engine) const {
    return engine.gradients(recorded(engine, *model_, trees_)).statistics.bytes_held;
  }
  /// Gives the same as another engine, having said once what it goes on without.
  void expect_warned(Engine& engine, const Outcome& expected, const std::string& text) const {
    for (int time = 0; time < 3; ++time) {
      const Outcome actual = run(engine);
      EXPECT_EQ(actual.losses, expected.losses);
      EXPECT_EQ(actual.gradients, expected.gradients);
    }
    ASSERT_EQ(engine.warnings().size(), 1U) << text;
    EXPECT_NE(engine.warnings()[0].find(text), std::string::npos) << engine.warnings()[0];
  }

  std::unique_ptr<models::TreeModel> model_ = make_model("tree_lstm", embed, hidden);
  std::vector<data::Tree> trees_ = random_forest("tree_lstm", 9, 7);
};

class WalkFailure : public CudaFailure {
 protected:
  void SetUp() override {
    CudaFailure::SetUp();
    folder_ = std::filesystem::temp_directory_path() /
              ("espalier-walk-failure." + std::to_string(::getpid()));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  /// With a cache of its own, in which there are no costs nor walkers.
  EngineOptions walking(Persistent persistent) const {
    EngineOptions result = settings(persistent, Gemm::tile);
    result.cache_directory = folder_;
    return result;
  }
  Outcome plain() const {
    Engine made = engine(walking(Persistent::off));
    return run(made);
  }

  std::filesystem::path folder_;
};

TEST_F(WalkFailure, WithoutCostsNothingWalks) {
  const Outcome expected = plain();
  {
    const Variable refuses("ESPALIER_FAKE_NVRTC_REFUSES", "sample_copy");
    Engine gpu = engine(walking(Persistent::automatic));
    expect_warned(gpu, expected, "refused: sample_copy");
  }
  for (const char* times : {"0", "nan", "1e9"}) {
    const Variable clock("ESPALIER_FAKE_CUDA_TIMES", times);
    Engine gpu = engine(walking(Persistent::automatic));
    expect_warned(gpu, expected, "launches do not walk: ");
  }
  std::int64_t needed = 0;
  {
    Engine gpu = engine(walking(Persistent::off));
    needed = held(gpu);
  }
  const Variable limit("ESPALIER_FAKE_CUDA_BYTES", std::to_string(needed + (1 << 18)).c_str());
  Engine gpu = engine(walking(Persistent::automatic));
  expect_warned(gpu, expected, "measuring the GPU");
}

TEST_F(WalkFailure, WithoutAWalkerNothingWalksUnlessItMust) {
  const Outcome expected = plain();
  const Variable refuses("ESPALIER_FAKE_NVRTC_REFUSES", "espalier_walk");
  EngineOptions options = walking(Persistent::automatic);
  // Costs by which all should walk.
  options.debug.device_costs = "4 1e-3 1e-3 1e-3 1e-6 1e-6 1e-6 1e-9 1e-12 1e-12 1e-12";
  Engine may = engine(options);
  expect_warned(may, expected, "refused: espalier_walk");
  Engine must = engine(walking(Persistent::on));
  const std::string text = refusal([&] {
    for (int time = 0; time < 3; ++time) run(must);
  });
  EXPECT_NE(text.find("persistent 'on' was asked for, but "), std::string::npos) << text;
}

}  // namespace
}  // namespace espalier::test
