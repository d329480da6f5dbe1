#include "data/vocabulary.h"

#include <gtest/gtest.h>

#include "data/text_file.h"
#include "tests/data/support.h"

namespace espalier::data {
namespace {

TEST(Vocabulary, NumbersTokensInOrderOfFirstAppearance) {
  Vocabulary words;
  EXPECT_EQ(words.intern("b"), 1);
  EXPECT_EQ(words.intern("a"), 2);
  EXPECT_EQ(words.intern("b"), 1);
  EXPECT_EQ(words.intern("<unk>"), Vocabulary::kUnknown);
  EXPECT_EQ(words.size(), 3);
  EXPECT_EQ(words.token(0), "<unk>");
  EXPECT_EQ(words.token(2), "a");
  EXPECT_EQ(words.find("a"), 2);
  EXPECT_EQ(words.find("c"), Vocabulary::kUnknown);
}

TEST(Vocabulary, AddsNothingOnceFrozen) {
  Vocabulary words;
  words.intern("a");
  words.freeze();
  EXPECT_EQ(words.intern("a"), 1);
  EXPECT_EQ(words.intern("b"), Vocabulary::kUnknown);
  EXPECT_EQ(words.size(), 2);
}

TEST(Vocabulary, ForgetsTheLastOnes) {
  Vocabulary words;
  for (const char* token : {"a", "b", "c"}) words.intern(token);
  words.truncate(2);
  EXPECT_EQ(words.size(), 2);
  EXPECT_EQ(words.find("a"), 1);
  EXPECT_EQ(words.find("b"), Vocabulary::kUnknown);
  EXPECT_EQ(words.intern("c"), 2);
}

TEST(Vocabulary, RefusesWhatIsNoToken) {
  Vocabulary words;
  EXPECT_EQ(refusal([&] { words.intern(""); }),
            "vocabulary: found '', expected a token without white space");
  EXPECT_EQ(refusal([&] { words.intern("a\tb"); }),
            "vocabulary: found 'a\\x09b', expected a token without white space");
}

TEST(Vocabulary, ComesBackFromItsFile) {
  const TemporaryFolder folder;
  Vocabulary words;
  for (const char* token : {"8\u00A01\\/2", "(", "naïve", "-LRB-"}) words.intern(token);
  words.save(folder / "vocab.txt");
  EXPECT_EQ(read_text_file(folder / "vocab.txt").text, "<unk>\n8\u00A01\\/2\n(\nnaïve\n-LRB-\n");
  EXPECT_FALSE(std::filesystem::exists(folder / "vocab.txt.tmp"));

  Vocabulary loaded = Vocabulary::load(folder / "vocab.txt");
  EXPECT_EQ(loaded, words);
  EXPECT_TRUE(loaded.frozen());
  EXPECT_EQ(loaded.find("naïve"), 3);
  EXPECT_EQ(loaded.intern("new"), Vocabulary::kUnknown);
}

TEST(Vocabulary, LoadsCrlfAndAMissingLastNewline) {
  const TemporaryFolder folder;
  const Vocabulary words = Vocabulary::load(folder.write("vocab.txt", "<unk>\r\na\r\nb"));
  EXPECT_EQ(words.size(), 3);
  EXPECT_EQ(words.find("a"), 1);
  EXPECT_EQ(words.find("b"), 2);
}

TEST(Vocabulary, RefusesMalformedFiles) {
  const TemporaryFolder folder;
  const auto message = [&](std::string_view text) {
    const std::string file = folder.write("v", text);
    return refusal([&] { Vocabulary::load(file); }).substr(file.size());
  };
  EXPECT_EQ(message(""), ":1:1: found an empty line, expected a token");
  EXPECT_EQ(message("the\n"), ":1:1: found 'the', expected '<unk>' on the first line");
  EXPECT_EQ(message("<unk>\na\nb\na\n"),
            ":4:1: found 'a' again, as on line 2, expected a new token");
  EXPECT_EQ(message("<unk>\na\n\nb\n"), ":3:1: found an empty line, expected a token");
  EXPECT_EQ(message("<unk>\nab c\n"), ":2:3: found ' ', expected a token without white space");
  EXPECT_EQ(message({"<unk>\na\0b\n", 10}),
            ":2:2: found '\\x00', expected a token without white space");
}

TEST(Vocabulary, SaysWhyAFileCannotBeUsed) {
  const TemporaryFolder folder;
  EXPECT_EQ(refusal([&] { Vocabulary::load(folder / "absent"); }),
            (folder / "absent") + ": cannot open the file: No such file or directory");
  EXPECT_EQ(refusal([&] { Vocabulary::load(folder / ""); }),
            (folder / "") + ": found a directory, expected a file");
  EXPECT_EQ(refusal([&] { Vocabulary().save(folder / "absent/vocab.txt"); }),
            (folder / "absent/vocab.txt") + ": cannot write the file: No such file or directory");
}

TEST(Vocabulary, IsSavedWholeOrNotAtAll) {
  const TemporaryFolder folder;
  // The name that a draft once had belongs to somebody else, who linked it elsewhere.
  const std::string victim = folder.write("victim", "mine");
  std::filesystem::create_symlink(victim, folder / "vocab.txt.tmp");
  std::filesystem::create_symlink(victim, folder / "vocab.txt");
  Vocabulary().save(folder / "vocab.txt");
  EXPECT_FALSE(std::filesystem::is_symlink(folder / "vocab.txt"));
  EXPECT_EQ(read_text_file(folder / "vocab.txt").text, "<unk>\n");
  EXPECT_EQ(read_text_file(victim).text, "mine");
  // A folder cannot be replaced, and nothing stays beside it.
  std::filesystem::create_directories(folder / "taken/vocab.txt/x");
  EXPECT_EQ(refusal([&] { Vocabulary().save(folder / "taken/vocab.txt"); }),
            (folder / "taken/vocab.txt") + ": cannot write the file: Is a directory");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder / "taken"), {}), 1);
}

}  // namespace
}  // namespace espalier::data
