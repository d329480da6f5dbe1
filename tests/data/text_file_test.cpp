// What is read, and how the pieces of a message look.
#include "data/text_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <thread>

#include "tests/data/support.h"

namespace espalier::data {
namespace {

TEST(TextFile, IsReadWhole) {
  const TemporaryFolder folder;
  for (const std::size_t size : {0u, 1u, 65'535u, 65'536u, 65'537u, 1'000'000u}) {
    std::string text;
    for (std::size_t i = 0; i < size; ++i) text += static_cast<char>('a' + i * i % 26);
    const TextFile file = read_text_file(folder.write("f", text));
    EXPECT_EQ(file.text, text);
    EXPECT_EQ(file.name, folder / "f");
    EXPECT_EQ(file.tolerated.to_text(), "");
  }
}

TEST(TextFile, AByteOrderMarkInFrontIsNoText) {
  const TemporaryFolder folder;
  const TextFile file = read_text_file(folder.write("f", "\uFEFFa\uFEFFb"));
  EXPECT_EQ(file.text, "a\uFEFFb");
  EXPECT_EQ(file.tolerated.to_text(), "byte order mark (1)");
}

TEST(TextFile, MayBeAPipe) {
  const TemporaryFolder folder;
  const std::string pipe = folder / "pipe", text(200'000, 'x');
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(pipe) << text; });
  EXPECT_EQ(read_text_file(pipe).text, text);
  writer.join();
}

TEST(TextFile, WhatHasNoEndIsRefused) {
  for (const std::string device : {"/dev/full", "/dev/zero", "/dev/null"})
    EXPECT_EQ(refusal([&] { read_text_file(device); }),
              device + ": found a device, expected a file");
  EXPECT_EQ(refusal([] { read_text_file("/dev"); }), "/dev: found a directory, expected a file");
}

// It opens, but there is nothing at address 0; so it is with a failing disk.
TEST(TextFile, ErrorsWhileReadingAreTheUsers) {
  EXPECT_EQ(refusal([] { read_text_file("/proc/self/mem"); }),
            "/proc/self/mem: cannot read the file: Input/output error");
}

TEST(TextFile, FindsWhatIsNotUtf8) {
  for (const std::string good :
       {"", "a", "\xC3\xA9", "\xED\x9F\xBF", "\xF0\x9F\x8C\xB3", "\xF4\x8F\xBF\xBF", "\x7F"})
    EXPECT_EQ(find_not_utf8(good), std::string::npos) << good;
  for (const std::string bad : {"\xFF", "\x80", "\xC3", "\xC0\x80", "\xE2\x82", "\xED\xA0\x80",
                                "\xF4\x90\x80\x80", "\xE0\x80\x80", "\xF0\x80\x80\x80", "\xF5"})
    EXPECT_EQ(find_not_utf8("\xC3\xA9" + bad), 2u) << bad;
}

TEST(TextFile, QuotesSpellWhatWouldNotShow) {
  EXPECT_EQ(data::quoted("caf\xE9 \xC3\xA9\x1B\uFEFF\u00A0"),
            "'caf\\xE9 \xC3\xA9\\x1B\\uFEFF\\u00A0'");
  EXPECT_EQ(data::quoted(std::string(41, 'x')), "'" + std::string(40, 'x') + "'…");
  EXPECT_EQ(data::quoted(std::string(39, 'x') + "\xC3\xA9"), "'" + std::string(39, 'x') + "'…");
  EXPECT_EQ(data::quoted(""), "''");
}

TEST(Tolerated, CountsKindsInTheirOrder) {
  Tolerated tolerated;
  EXPECT_EQ(tolerated.to_text(), "");
  tolerated.add("b");
  tolerated.add("a", 2);
  tolerated.add("c", 0);
  tolerated.add("b", 3);
  EXPECT_EQ(tolerated.to_text(), "b (4), a (2)");
}

}  // namespace
}  // namespace espalier::data
