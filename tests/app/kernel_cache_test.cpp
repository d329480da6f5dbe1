// The kernel cache as the command's user meets it: counted by `info`, and done without where it
// cannot be used.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "tests/app/command.h"

namespace espalier::app {
namespace {

namespace fs = std::filesystem;

class DiskCache : public testing::Test {
 protected:
  const TemporaryFolder folder_;
  const fs::path kernels_ = folder_ / "cache/espalier";
  const CommandOptions options_{.environment = {{"XDG_CACHE_HOME", folder_ / "cache"}}};
};

int count(std::string_view text, std::string_view part) {
  int found = 0;
  for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++found;
  return found;
}

/// The line of `espalier info` about the cache.
std::string info_line(const CommandOptions& options) {
  const std::string text = run({"info"}, options).out;
  const std::size_t begin = text.find("cache ");
  return text.substr(begin, text.find('\n', begin) - begin);
}

TEST_F(DiskCache, ThatOthersMayWriteIsToldOnceAndNotUsed) {
  fs::create_directories(kernels_);
  ASSERT_EQ(::chmod(kernels_.c_str(), 0777), 0);
  const std::string told = "warning: kernels are not kept for the next run: " + kernels_.string() +
                           ": found a folder that other users may write to (mode 0777), expected "
                           "one of this user alone (0700)";
  const Output trained = run(tiny_training({"--save", folder_ / "run"}), options_);
  EXPECT_EQ(trained.status, 0);
  EXPECT_EQ(count(trained.err, told), 1) << trained.err;
  const Output measured = run({"eval", "--load", folder_ / "run"}, options_);
  EXPECT_EQ(measured.status, 0);
  EXPECT_EQ(count(measured.err, told), 1) << measured.err;
  EXPECT_TRUE(fs::is_empty(kernels_));
  EXPECT_NE(info_line(options_).find("not used: " + kernels_.string()), std::string::npos)
      << info_line(options_);
}

TEST_F(DiskCache, ThatCannotBeWrittenIsToldOnce) {
  folder_.write("cache", "a file where the folder should be");
  const Output trained = run(tiny_training(), options_);
  EXPECT_EQ(trained.status, 0);
  EXPECT_EQ(count(trained.err, "warning: kernels are not kept"), 1) << trained.err;
  EXPECT_EQ(count(trained.err, ": Not a directory"), 1) << trained.err;
}

TEST_F(DiskCache, IsCountedWithoutWhatElseLiesThere) {
  EXPECT_NE(info_line(options_).find("(0 files, 0 B)"), std::string::npos) << info_line(options_);
  ASSERT_EQ(run(tiny_training(), options_).status, 0);
  const std::string before = info_line(options_);
  EXPECT_EQ(before.find("(0 files"), std::string::npos) << before;
  folder_.write("cache/espalier/notes.txt", "not a kernel");
  folder_.write("cache/espalier/host-cuda/" + std::string(32, '0') + ".kernel", "of another cache");
  EXPECT_EQ(info_line(options_), before);
}

}  // namespace
}  // namespace espalier::app
