// Files are replaced whole or not at all, whatever fails on the way.
#include "base/atomic_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

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

TEST(AtomicFile, NobodyCanForetellTheNameOfADraft) {
  const TemporaryFolder folder;
  const std::string_view text = "new";
  std::set<std::string> names;
  for (int i = 0; i < 20; ++i) {
    const Draft draft(folder / "f", std::span(&text, 1));
    names.insert(draft.path().filename().string());
    EXPECT_EQ(Draft::file_of(draft.path().filename().string()), "f");
  }
  EXPECT_EQ(names.size(), 20u);
  for (const char* other :
       {"", ".tmp", ".f.tmp", "f.0123456789abcdef.tmp", ".f.0123456789abcdef",
        "..0123456789abcdef.tmp", ".../x.0123456789abcdef.tmp", "...0123456789abcdef.tmp"})
    EXPECT_EQ(Draft::file_of(other), "") << other;
}

TEST(AtomicFile, ALinkIsReplacedAndNotFollowed) {
  const TemporaryFolder folder;
  const std::string victim = folder.write("victim", "mine");
  std::filesystem::create_symlink(victim, folder / "f");
  EXPECT_EQ(refusal([&] { read_whole_file(folder / "f", Links::refuse); }),
            folder / "f" + ": found a link, expected a file");
  EXPECT_EQ(read_whole_file(folder / "f"), "mine");
  write(folder / "f", "new");
  std::filesystem::create_symlink(victim, folder / "log");
  LogFile(folder / "log").add("line");
  EXPECT_EQ(read_whole_file(folder / "f", Links::refuse), "new");
  EXPECT_EQ(read_whole_file(folder / "log", Links::refuse), "line\n");
  EXPECT_EQ(read_whole_file(victim), "mine");
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(refusal([&] { read_whole_file(folder / "pipe", Links::refuse); }),
            folder / "pipe" + ": found a pipe or a device, expected a file");
}

}  // namespace
}  // namespace espalier
