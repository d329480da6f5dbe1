// Files are replaced whole or not at all, whatever fails on the way.
#include "training/atomic_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>
#include <string_view>

#include "tests/data/support.h"
#include "tests/training/full_disk.h"

namespace espalier {
namespace {

using data::refusal;
using data::TemporaryFolder;

std::set<std::string> names_in(const std::filesystem::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.insert(entry.path().filename().string());
  return names;
}

void write(const std::filesystem::path& file, std::string_view text) {
  write_atomically(file, {&text, 1});
}

TEST(AtomicFile, ReplacesTheContent) {
  const TemporaryFolder folder;
  const std::string_view pieces[] = {"one", "", std::string_view(" \0two", 5)};
  write_atomically(folder / "f", pieces);
  EXPECT_EQ(read_whole_file(folder / "f"), std::string("one \0two", 8));
  write(folder / "f", "");
  EXPECT_EQ(read_whole_file(folder / "f"), "");
  EXPECT_EQ(names_in(folder / ""), std::set<std::string>{"f"});
}

TEST(AtomicFile, AFullDiskLeavesTheOldFile) {
  const TemporaryFolder folder;
  write(folder / "f", "old");
  {
    const FullDisk full(1000);
    EXPECT_EQ(refusal([&] { write(folder / "f", std::string(5000, 'x')); }),
              folder / "f" + ": cannot write the file: File too large");
  }
  EXPECT_EQ(read_whole_file(folder / "f"), "old");
  EXPECT_EQ(names_in(folder / ""), std::set<std::string>{"f"});
}

TEST(AtomicFile, ADraftThatIsNotPublishedLeavesNothing) {
  const TemporaryFolder folder;
  write(folder / "f", "old");
  const std::string_view text = "new";
  {
    std::vector<Draft> drafts;
    drafts.emplace_back(folder / "f", std::span(&text, 1));
    drafts.emplace_back(folder / "g", std::span(&text, 1));
    EXPECT_EQ(read_whole_file(folder / "f"), "old");
  }
  EXPECT_EQ(read_whole_file(folder / "f"), "old");
  EXPECT_EQ(names_in(folder / ""), std::set<std::string>{"f"});
}

TEST(AtomicFile, AFailedRenameLeavesNothing) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "f/inside");
  EXPECT_EQ(refusal([&] { write(folder / "f", "new"); }),
            folder / "f" + ": cannot write the file: Is a directory");
  EXPECT_EQ(names_in(folder / ""), std::set<std::string>{"f"});
}

TEST(AtomicFile, AMissingFolderIsRefused) {
  const TemporaryFolder folder;
  EXPECT_EQ(refusal([&] { write(folder / "no/f", "new"); }),
            folder / "no/f" + ": cannot write the file: No such file or directory");
}

TEST(AtomicFile, AWriterThatDiedIsNoObstacle) {
  const TemporaryFolder folder;
  folder.write(fmt::format(".f.{}-0.tmp", ::getpid()), "half");
  write(folder / "f", "new");
  EXPECT_EQ(read_whole_file(folder / "f"), "new");
}

}  // namespace
}  // namespace espalier
