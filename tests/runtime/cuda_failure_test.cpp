// What an engine on a GPU goes on without when it fails: trials of products, and walking. Only the
// stand-in of cuda_engine_test.cpp can be made to fail.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>

#include "runtime/cuda/devices.h"
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
  static EngineOptions settings(Persistent persistent, Contractions contractions) {
    EngineOptions result = options({"", "phase", "", 1});
    result.device = Device::cuda;
    result.persistent = persistent;
    result.contractions = contractions;
    return result;
  }
  Engine engine(const EngineOptions& options) const {
    Engine made(model_->program(), options);
    randomize(made, 4);
    return made;
  }
  Outcome run(Engine& engine) const { return outcome(engine, *model_, trees_, all(trees_)); }
  std::size_t products(Engine& engine) const {
    return engine.gradients(recorded(engine, *model_, trees_)).statistics.device_contractions;
  }
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

constexpr std::int64_t workspace = 8 << 20;  // of cuBLAS

class TrialFailure : public CudaFailure {
 protected:
  static EngineOptions by_trial() { return settings(Persistent::off, Contractions::automatic); }
  static EngineOptions by_tiles() { return settings(Persistent::off, Contractions::tile); }
  static EngineOptions by_cublas() { return settings(Persistent::off, Contractions::cublas); }
  const Variable slow_tiles_{"ESPALIER_FAKE_TILE_TIME", "100"};
};

TEST_F(TrialFailure, WithoutMemoryTilesMultiplyForNow) {
  const Release release("");
  std::int64_t needed = 0;
  Outcome expected;
  {
    Engine tiles = engine(by_tiles());
    expected = run(tiles);
    needed = held(tiles);
  }
  for (const auto& [room, text] :
       {std::pair(workspace / 2, "tiles do all: out of memory on the GPU: cuBLAS's workspace"),
        std::pair(workspace + (1 << 18), "failed: out of memory on the GPU: ")}) {
    const Variable limit("ESPALIER_FAKE_CUDA_BYTES", std::to_string(needed + room).c_str());
    {
      Engine little = engine(by_trial());
      EXPECT_EQ(run(little).losses, expected.losses);
      ASSERT_FALSE(little.warnings().empty());
      EXPECT_NE(little.warnings()[0].find(text), std::string::npos) << little.warnings()[0];
    }
    // Who must have cuBLAS is told.
    const std::string refused = refusal([&] {
      Engine must = engine(by_cublas());
      run(must);
    });
    EXPECT_TRUE(refused.starts_with("cuBLAS was asked for, but ")) << refused;
  }
  // Nothing of that was kept, on the device or on disk.
  Engine enough = engine(by_trial());
  run(enough);
  EXPECT_GT(products(enough), 1U);
  EXPECT_TRUE(enough.warnings().empty());
}

TEST_F(TrialFailure, AProductThatFailsIsATiles) {
  Engine tiles = engine(by_tiles());
  const Outcome expected = run(tiles);
  // While an algorithm is checked, timed, run in a kernel, and captured in one.
  for (const char* after : {"0", "13", "33", "37"}) {
    SCOPED_TRACE(after);
    const Release release("");
    std::size_t by_others = 0;  // that multiply other shapes
    {
      const Variable fails("ESPALIER_FAKE_CUBLAS_FAILS_AFTER", after);
      Engine once = engine(by_trial());
      const Outcome actual = run(once);
      for (std::size_t i = 0; i < expected.losses.size(); ++i)
        expect_near(actual.losses[i], expected.losses[i], 256, "losses");
      ASSERT_EQ(once.warnings().size(), 1U);
      EXPECT_NE(once.warnings()[0].find("cublasLtMatmul failed"), std::string::npos)
          << once.warnings()[0];
      by_others = products(once);
      EXPECT_GT(by_others, 0U);
    }
    Engine again = engine(by_trial());
    run(again);
    EXPECT_GT(products(again), by_others);
    EXPECT_TRUE(again.warnings().empty());
  }
}

TEST_F(TrialFailure, AClockThatStandsDecidesNothing) {
  Engine tiles = engine(by_tiles());
  const Outcome expected = run(tiles);
  for (const char* times : {"0", "-1", "nan"}) {
    const Release release("");
    {
      const Variable clock("ESPALIER_FAKE_CUDA_TIMES", times);
      Engine stands = engine(by_trial());
      EXPECT_EQ(run(stands).losses, expected.losses);
      ASSERT_FALSE(stands.warnings().empty());
      EXPECT_NE(stands.warnings()[0].find("the GPU's clock is wrong"), std::string::npos)
          << stands.warnings()[0];
    }
    Engine goes = engine(by_trial());
    run(goes);
    EXPECT_GT(products(goes), 0U);
  }
}

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
    EngineOptions result = settings(persistent, Contractions::tile);
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
