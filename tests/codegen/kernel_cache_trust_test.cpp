// What of the kernel cache is run as machine code: only what this user alone can have written, and
// what is whole.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <string>

#include "base/disk_cache.h"
#include "tests/support/temporary_folder.h"

namespace espalier::codegen {
namespace {

namespace fs = std::filesystem;

mode_t mode_of(const fs::path& path) {
  struct stat status{};
  EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
  return status.st_mode & 07777U;
}

class KernelCacheTrust : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(DiskCache(folder_).store("key", "object")); }
  std::optional<std::string> loaded() const { return DiskCache(folder_).load("key"); }
  /// Of reading and of writing, which have the same.
  std::string problem() const {
    DiskCache reader(folder_), writer(folder_);
    EXPECT_FALSE(reader.load("key"));
    EXPECT_FALSE(writer.store("key", "object"));
    EXPECT_EQ(reader.problem(), writer.problem());
    return reader.problem();
  }

  const test::TemporaryFolder temporary_;
  const fs::path folder_ = temporary_ / "above/kernels";
  const fs::path entry_ = DiskCache(folder_).file("key");
};

TEST_F(KernelCacheTrust, MakesFoldersAndFilesForOneUser) {
  EXPECT_EQ(mode_of(folder_), 0700U);
  EXPECT_EQ(mode_of(folder_.parent_path()), 0700U);
  EXPECT_EQ(mode_of(entry_), 0600U);
  EXPECT_EQ(loaded(), "object");
}

TEST_F(KernelCacheTrust, AFolderThatOthersMayWriteIsNotUsed) {
  for (const mode_t mode : {0770U, 0707U, 0777U, 01777U}) {
    ASSERT_EQ(::chmod(folder_.c_str(), mode), 0);
    EXPECT_NE(problem().find(fmt::format("other users may write to (mode {:04o})", mode)),
              std::string::npos)
        << problem();
  }
  ASSERT_EQ(::chmod(folder_.c_str(), 0755), 0);
  EXPECT_EQ(loaded(), "object") << "others may read";
}

TEST_F(KernelCacheTrust, AFolderOfAnotherUserIsNotUsed) {
  fs::path folder = folder_;
  if (::geteuid() == 0)
    ASSERT_EQ(::chown(folder.c_str(), 12345, gid_t(-1)), 0);
  else
    folder = "/usr";  // where everybody can read
  DiskCache cache(folder);
  EXPECT_FALSE(cache.load("key"));
  EXPECT_FALSE(cache.store("key", "object"));
  EXPECT_NE(cache.problem().find("found a folder of user "), std::string::npos) << cache.problem();
}

TEST_F(KernelCacheTrust, AFolderBehindALinkIsNotUsed) {
  const fs::path link = temporary_ / "link";
  fs::create_directory_symlink(folder_, link);
  for (const fs::path& path : {link, link / ""}) {
    DiskCache cache(path);
    EXPECT_FALSE(cache.load("key"));
    EXPECT_EQ(cache.problem(), link.string() + ": found a symbolic link, expected a folder");
  }
}

TEST_F(KernelCacheTrust, AnEntryThatOthersMayWriteIsMadeAnew) {
  for (const mode_t mode : {0620U, 0602U}) {
    ASSERT_EQ(::chmod(entry_.c_str(), mode), 0);
    EXPECT_FALSE(loaded());
  }
  ASSERT_TRUE(DiskCache(folder_).store("key", "object"));
  EXPECT_EQ(loaded(), "object");
  EXPECT_EQ(mode_of(entry_), 0600U);
}

TEST_F(KernelCacheTrust, AnEntryOfAnotherUserIsMadeAnew) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  ASSERT_EQ(::chown(entry_.c_str(), 12345, gid_t(-1)), 0);
  EXPECT_FALSE(loaded());
  ASSERT_TRUE(DiskCache(folder_).store("key", "object"));
  EXPECT_EQ(loaded(), "object");
}

TEST_F(KernelCacheTrust, AnEntryBehindALinkIsMadeAnewAndWhatItNamesIsLeftAlone) {
  const fs::path other = temporary_ / "other";
  fs::rename(entry_, other);
  fs::create_symlink(other, entry_);
  EXPECT_FALSE(loaded());
  ASSERT_TRUE(DiskCache(folder_).store("key", "another object"));
  EXPECT_FALSE(fs::is_symlink(entry_));
  EXPECT_EQ(loaded(), "another object");
  fs::rename(other, entry_);
  EXPECT_EQ(loaded(), "object");
}

TEST_F(KernelCacheTrust, APipeIsNoEntry) {
  fs::remove(entry_);
  ASSERT_EQ(::mkfifo(entry_.c_str(), 0600), 0);
  EXPECT_FALSE(loaded()) << "and nobody waits for it";
}

TEST_F(KernelCacheTrust, ASparseFileOfAnySizeIsNotRead) {
  for (const auto size : {std::uintmax_t{1} << 30, std::uintmax_t{200} << 30}) {
    fs::resize_file(entry_, size);
    EXPECT_FALSE(loaded());
  }
  // It is counted, so it goes first.
  DiskCache cache(folder_);
  ASSERT_TRUE(cache.store("another", "object"));
  EXPECT_FALSE(fs::exists(entry_));
  EXPECT_EQ(cache.load("another"), "object");
}

TEST_F(KernelCacheTrust, NoBitOfAnEntryCanBeAnother) {
  const std::string good = entry_bytes("key", "object");
  EXPECT_EQ(entry_object(good, "key"), "object");
  EXPECT_EQ(test::read_file(entry_), good);
  for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string bytes = good;
    bytes[bit / 8] = char(bytes[bit / 8] ^ (1 << bit % 8));
    EXPECT_FALSE(entry_object(bytes, "key")) << "bit " << bit;
  }
  for (std::size_t size = 0; size < good.size(); ++size)
    EXPECT_FALSE(entry_object(good.substr(0, size), "key")) << size;
  EXPECT_FALSE(entry_object(good + '\0', "key"));
  EXPECT_FALSE(entry_object(good, "kez"));
}

TEST_F(KernelCacheTrust, CountsEntriesOnly) {
  ASSERT_TRUE(DiskCache(folder_).store("another", "object"));
  DiskCache below(folder_ / "below");
  ASSERT_TRUE(below.store("key", "object"));
  temporary_.write("above/kernels/notes.txt", "not ours");
  const DiskCache::Usage usage = DiskCache(folder_).usage();
  EXPECT_EQ(usage.files, 2);
  EXPECT_EQ(usage.bytes, std::int64_t(entry_bytes("key", "object").size() +
                                      entry_bytes("another", "object").size()));
  EXPECT_EQ(DiskCache(temporary_ / "nowhere").usage().files, 0);
  EXPECT_FALSE(fs::exists(temporary_ / "nowhere")) << "asking makes no folder";
}

}  // namespace
}  // namespace espalier::codegen
