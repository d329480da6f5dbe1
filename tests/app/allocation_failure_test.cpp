// A failed allocation anywhere in a training run ends it with one line and status 1: no abort, no
// signal, no word of a bug. tests/support/fail_allocation.cpp lets them fail.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <tuple>

#include "tests/app/command.h"

namespace espalier::app {
namespace {

/// Whether kernels are compiled, or come from the cache; whether one allocation fails, or all from
/// it on.
class AllocationFailure : public testing::TestWithParam<std::tuple<bool, bool>> {
 protected:
  /// A run in which the allocation of that number fails; 0: none.
  Output train(long number) const {
    const auto [cold, onward] = GetParam();
    if (cold) std::filesystem::remove_all(folder_ / "cache");
    std::filesystem::remove_all(folder_ / "run");
    CommandOptions options{.environment = {{"XDG_CACHE_HOME", folder_ / "cache"},
                                           {"LD_PRELOAD", ESPALIER_FAIL_ALLOCATION},
                                           {"ESPALIER_FAIL_ALLOCATION", std::to_string(number)}}};
    if (onward) options.environment["ESPALIER_FAIL_ONWARD"] = "1";
    return run(tiny_training({"--examples", "40", "--max-tokens", "12", "--hidden", "4", "--epochs",
                              "1", "--threads", "2", "--save", folder_ / "run"}),
               options);
  }

  /// How many allocations a run makes.
  long count() const {
    train(0);  // fills the cache
    const Output output = train(0);
    EXPECT_EQ(output.status, 0) << output.err;
    const std::string_view before = "allocations: ";
    const std::size_t found = output.err.rfind(before);
    return found == std::string::npos ? 0 : std::stol(output.err.substr(found + before.size()));
  }

  void expect_one_line(int runs) const {
    const long all = count();
    ASSERT_GT(all, 1000);
    int failed = 0;
    for (int i = 0; i < runs; ++i) {
      // The first one of all, and others in each part of the run.
      const long number = 1 + all / runs * i + (i > 0 ? i * 7919L % (all / runs) : 0);
      const Output output = train(number);
      // What is tried once more, or done without, may fail without harm.
      if (output.status == 0) continue;
      ++failed;
      EXPECT_EQ(output.status, 1) << "allocation " << number << " of " << all << ": " << output.err;
      const std::string line = output.err.substr(output.err.rfind("espalier: error: ") + 17);
      EXPECT_TRUE(line.starts_with("out of memory") && line.find('\n') + 1 == line.size())
          << "allocation " << number << " of " << all << ": " << output.err;
    }
    EXPECT_GT(failed, runs / 2);
  }

  const TemporaryFolder folder_;
};

TEST_P(AllocationFailure, EndsWithOneLine) { expect_one_line(12); }
TEST_P(AllocationFailure, EndsWithOneLineInEveryPart) { expect_one_line(150); }

INSTANTIATE_TEST_SUITE_P(Runs, AllocationFailure,
                         testing::Combine(testing::Bool(), testing::Bool()), [](const auto& info) {
                           return std::string(std::get<0>(info.param) ? "Compiling" : "FromCache") +
                                  (std::get<1>(info.param) ? "AllFrom" : "One");
                         });

}  // namespace
}  // namespace espalier::app
