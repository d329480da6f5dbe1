// The size of the kernel cache: what goes when it becomes too large, what stays, and that several
// processes may trim it at once.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/disk_cache.h"
#include "tests/support/temporary_folder.h"

namespace espalier::codegen {
namespace {

namespace fs = std::filesystem;

constexpr int kObject = 900;  // bytes; a file is a little larger
constexpr std::int64_t kLimit = 20'000;

class KernelCacheSize : public testing::Test {
 protected:
  static std::string key(int number) { return "key " + std::to_string(number); }
  static std::string object(int number) { return std::string(kObject, char('a' + number % 26)); }
  std::int64_t bytes() const { return DiskCache(folder_).usage().bytes; }
  std::vector<int> kept(const DiskCache& cache, int keys) const {
    std::vector<int> found;
    for (int i = 0; i < keys; ++i)
      if (fs::exists(cache.file(key(i)))) found.push_back(i);
    return found;
  }

  const test::TemporaryFolder temporary_;
  const fs::path folder_ = temporary_.path();
};

TEST_F(KernelCacheSize, StaysBelowTheLimitAndKeepsTheNewest) {
  DiskCache cache(folder_, kLimit);
  std::size_t most = 0;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(cache.store(key(i), object(i)));
    ASSERT_LE(bytes(), kLimit) << i;
    const std::vector<int> now = kept(cache, 100);
    ASSERT_EQ(now.back() - now.front() + 1, std::ssize(now)) << "those stored last";
    ASSERT_EQ(now.back(), i);
    most = std::max(most, now.size());
    EXPECT_EQ(cache.load(key(i)), object(i));
  }
  EXPECT_GE(most, 20u) << "the room is used";
}

TEST_F(KernelCacheSize, AFileThatIsReadIsNotOld) {
  DiskCache cache(folder_, kLimit);
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(cache.store(key(i), object(i)));
    ASSERT_EQ(cache.load(key(0)), object(0)) << i;
  }
  EXPECT_FALSE(cache.load(key(1)));
}

TEST_F(KernelCacheSize, CountsWhatOthersHaveLeft) {
  {
    DiskCache large(folder_);
    for (int i = 0; i < 50; ++i) ASSERT_TRUE(large.store(key(i), object(i)));
  }
  EXPECT_GT(bytes(), 2 * kLimit);
  DiskCache(folder_, kLimit).store(key(50), object(50));
  EXPECT_LE(bytes(), kLimit);
  EXPECT_EQ(kept(DiskCache(folder_), 51).back(), 50);
}

TEST_F(KernelCacheSize, LeavesOtherFilesAlone) {
  const auto write = [&](const std::string& name, std::chrono::hours age) {
    std::ofstream(folder_ / name) << std::string(2 * kLimit, 'x');
    fs::last_write_time(folder_ / name, fs::file_time_type::clock::now() - age);
  };
  write("notes.txt", std::chrono::hours(100));
  const std::string entry = DiskCache(folder_).file("another").filename();
  const std::string writing = entry + ".aaaaaa";    // another process is writing it
  const std::string abandoned = entry + ".aaaaab";  // it did not live to finish it
  write(writing, std::chrono::hours(0));
  write(abandoned, std::chrono::hours(2));
  // Names that are nearly of our form.
  const std::vector<std::string> others = {"new.thesis.tar", "new.thesis",      "a.kernel",
                                           entry + ".tar",   "x" + entry,       entry + ".AAAAAA",
                                           entry + ".bak12", "." + entry + "~", "linux.kernel"};
  for (const std::string& name : others) write(name, std::chrono::hours(100));
  fs::create_directory(folder_ / "folder.kernel");
  DiskCache cache(folder_, kLimit);
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(cache.store(key(i), object(i)));
  EXPECT_GE(kept(cache, 50).size(), 15u) << "nor are they counted";
  EXPECT_TRUE(fs::exists(folder_ / "notes.txt"));
  EXPECT_TRUE(fs::exists(folder_ / writing));
  EXPECT_FALSE(fs::exists(folder_ / abandoned));
  for (const std::string& name : others) EXPECT_TRUE(fs::exists(folder_ / name)) << name;
  EXPECT_TRUE(fs::exists(folder_ / "folder.kernel"));
}

TEST_F(KernelCacheSize, AnObjectLargerThanTheLimitIsNotKept) {
  DiskCache cache(folder_, kLimit);
  ASSERT_TRUE(cache.store(key(0), object(0)));
  EXPECT_TRUE(cache.store("large", std::string(kLimit, 'x')));
  EXPECT_FALSE(cache.load("large"));
  EXPECT_TRUE(cache.load(key(0))) << "nor does it drive out the others";
}

TEST_F(KernelCacheSize, ManyProcessesTrimAtOnce) {
  constexpr int kProcesses = 4;
  std::vector<pid_t> children;
  for (int process = 0; process < kProcesses; ++process) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      DiskCache cache(folder_, kLimit);
      int wrong = 0;
      for (int i = 0; i < 300; ++i) {
        const int number = (i * 7 + process * 11) % 60;
        if (const auto found = cache.load(key(number)))
          wrong += *found != object(number);
        else
          wrong += !cache.store(key(number), object(number));
      }
      _exit(wrong == 0 ? 0 : 1);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  EXPECT_LE(bytes(), kLimit + kProcesses * (kLimit / 8));
  EXPECT_GT(bytes(), 0);
}

}  // namespace
}  // namespace espalier::codegen
