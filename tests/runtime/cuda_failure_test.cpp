// Failures that an engine on a GPU survives: trials of contractions fall back to tiles, walks to
// single launches, with a warning. Only the stand-in for CUDA can be made to fail.
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
    if (!on_stand_in()) GTEST_SKIP() << "only the stand-in fails on demand";
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
  std::size_t by_library(Engine& engine) const {
    return engine.gradients(recorded(engine, *model_, trees_)).statistics.device_contractions;
  }
  std::int64_t held(Engine& engine) const {
    return engine.gradients(recorded(engine, *model_, trees_)).statistics.bytes_held;
  }
  /// Expects the same results as `expected`, and one warning that contains `text`.
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
  const Variable slow_tiles_{"ESPALIER_FAKE_CUDA_TILE_TIME", "100"};
};

TEST_F(TrialFailure, WithoutMemoryTilesAreUsedForNow) {
  const Release release("");
  std::int64_t needed = 0;
  Outcome expected;
  {
    Engine tiles = engine(by_tiles());
    expected = run(tiles);
    needed = held(tiles);
  }
  for (const auto& [room, text] :
       {std::pair(workspace / 2,
                  "cuBLAS is not used: out of memory on the GPU: cuBLAS's workspace"),
        std::pair(workspace + (1 << 18), "failed: out of memory on the GPU: ")}) {
    const Variable limit("ESPALIER_FAKE_CUDA_BYTES", std::to_string(needed + room).c_str());
    {
      Engine little = engine(by_trial());
      EXPECT_EQ(run(little).losses, expected.losses);
      ASSERT_FALSE(little.warnings().empty());
      EXPECT_NE(little.warnings()[0].find(text), std::string::npos) << little.warnings()[0];
    }
    // An engine that demands cuBLAS gets an error.
    const std::string refused = refusal([&] {
      Engine must = engine(by_cublas());
      run(must);
    });
    EXPECT_TRUE(refused.starts_with("cuBLAS was asked for, but ")) << refused;
  }
  // Neither the device nor the disk cache kept anything of that.
  Engine enough = engine(by_trial());
  run(enough);
  EXPECT_GT(by_library(enough), 1U);
  EXPECT_TRUE(enough.warnings().empty());
}

TEST_F(TrialFailure, AFailingContractionFallsBackToATile) {
  Engine tiles = engine(by_tiles());
  const Outcome expected = run(tiles);
  // It fails while an algorithm is checked, while it is timed, while a kernel with it runs, and
  // while that is captured.
  for (const char* after : {"0", "13", "33", "37"}) {
    SCOPED_TRACE(after);
    const Release release("");
    std::size_t by_others = 0;  // contractions of other shapes
    {
      const Variable fails("ESPALIER_FAKE_CUBLAS_FAILS_AFTER", after);
      Engine once = engine(by_trial());
      const Outcome actual = run(once);
      for (std::size_t i = 0; i < expected.losses.size(); ++i)
        expect_near(actual.losses[i], expected.losses[i], 256, "losses");
      ASSERT_EQ(once.warnings().size(), 1U);
      EXPECT_NE(once.warnings()[0].find("cublasLtMatmul failed"), std::string::npos)
          << once.warnings()[0];
      by_others = by_library(once);
      EXPECT_GT(by_others, 0U);
    }
    Engine again = engine(by_trial());
    run(again);
    EXPECT_GT(by_library(again), by_others);
    EXPECT_TRUE(again.warnings().empty());
  }
}

TEST_F(TrialFailure, AStoppedClockDecidesNothing) {
  Engine tiles = engine(by_tiles());
  const Outcome expected = run(tiles);
  for (const char* times : {"0", "-1", "nan"}) {
    const Release release("");
    {
      const Variable clock("ESPALIER_FAKE_CUDA_CLOCK_RATE", times);
      Engine stopped = engine(by_trial());
      EXPECT_EQ(run(stopped).losses, expected.losses);
      ASSERT_FALSE(stopped.warnings().empty());
      EXPECT_NE(stopped.warnings()[0].find("the GPU's clock is wrong"), std::string::npos)
          << stopped.warnings()[0];
    }
    Engine works = engine(by_trial());
    run(works);
    EXPECT_GT(by_library(works), 0U);
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
  /// With a disk cache of its own, which has neither costs nor persistent kernels.
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

TEST_F(WalkFailure, WithoutCostsNothingIsWalked) {
  const Outcome expected = plain();
  {
    const Variable refuses("ESPALIER_FAKE_NVRTC_REFUSES", "sample_copy");
    Engine gpu = engine(walking(Persistent::automatic));
    expect_warned(gpu, expected, "refused: sample_copy");
  }
  for (const char* times : {"0", "nan", "1e9"}) {
    const Variable clock("ESPALIER_FAKE_CUDA_CLOCK_RATE", times);
    Engine gpu = engine(walking(Persistent::automatic));
    expect_warned(gpu, expected, "launches are not walked: ");
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

TEST_F(WalkFailure, WithoutAPersistentKernelNothingIsWalked) {
  const Outcome expected = plain();
  const Variable refuses("ESPALIER_FAKE_NVRTC_REFUSES", "espalier_walk");
  EngineOptions options = walking(Persistent::automatic);
  // Costs for which everything would be walked.
  options.debug.walk_costs = "4 1e-3 1e-3 1e-3 1e-6 1e-6 1e-6 1e-9 1e-12 1e-12 1e-12";
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
