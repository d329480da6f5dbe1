// CoNLL-U: what is made of sentences, what is tolerated, and every way in which a file can be
// wrong, with the exact place and words of the complaint.
#include "data/conllu.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "data/dataset.h"
#include "data/text_file.h"
#include "tests/data/support.h"

namespace espalier::data {
namespace {

/// `1 a NOUN 0` → the ten fields of a word.
std::string word(const std::string& id, const std::string& form, const std::string& tag,
                 const std::string& head) {
  return id + "\t" + form + "\t_\t" + tag + "\t_\t_\t" + head + "\t_\t_\t_\n";
}

/// A word that nothing is wrong with: the first is the root, of which the others depend.
std::string word(int id) {
  return word(std::to_string(id), "w" + std::to_string(id), "X", id == 1 ? "0" : "1");
}

/// A range or an empty node.
std::string other(const std::string& id) { return word(id, "o", "_", "_"); }

using conllu::Structure;

std::vector<Tree> parse(const std::string& text, Vocabulary& vocabulary,
                        Structure structure = Structure::sequence) {
  return conllu::parse({"t", text}, structure, vocabulary).trees;
}

/// Of dependency trees, which need all that sequences need.
std::string refused(const std::string& text, Structure structure = Structure::dependencies) {
  Vocabulary vocabulary;
  return refusal([&] { parse(text, vocabulary, structure); });
}

/// Words w1, w2, … with these HEADs and tag X, and the empty line.
std::string sentence(const std::vector<std::string>& heads) {
  std::string text;
  for (std::size_t i = 0; i < heads.size(); ++i)
    text += word(std::to_string(i + 1), fmt::format("w{}", i + 1), "X", heads[i]);
  return text + "\n";
}

/// `(w2 w1 (w4 w3))`: a word in front of its dependents.
std::string dependencies(const std::vector<std::string>& heads) {
  Vocabulary words;
  const std::vector<Tree> trees = parse(sentence(heads), words, Structure::dependencies);
  return fold<std::string>(trees.at(0), [&](TreeRef node, std::span<std::string> children) {
    std::string text = words.token(node.word());
    for (const std::string& child : children) text += " " + child;
    return children.empty() ? text : "(" + text + ")";
  });
}

/// What was tolerated in so many sentences.
std::string tolerated(const std::string& text, std::size_t sentences,
                      Structure structure = Structure::dependencies) {
  Vocabulary words;
  const Treebank bank = conllu::parse(text_file("t", text), structure, words);
  EXPECT_EQ(bank.trees.size(), sentences);
  return bank.tolerated.to_text();
}

TEST(Conllu, MakesAFlatTreeOfASentence) {
  Vocabulary words;
  const std::vector<Tree> trees =
      parse("# text = dogs bark\n" + word("1", "dogs", "NOUN", "2") +
                word("2", "bark", "VERB", "0") + "\n" + word("1", "dogs", "X", "0") + "\n",
            words);
  ASSERT_EQ(trees.size(), 2u);
  EXPECT_EQ(leaves(trees[0]), (std::vector{1, 2}));
  EXPECT_EQ(trees[0].label(0), 7) << "NOUN";
  EXPECT_EQ(trees[0].label(1), 15) << "VERB";
  EXPECT_EQ(trees[0].size(), 3);
  EXPECT_EQ(trees[0].children(2).size(), 2u);
  EXPECT_EQ(trees[0].label(2), Tree::kNone);
  EXPECT_EQ(leaves(trees[1]), (std::vector{1}));
  EXPECT_EQ(trees[1].children(trees[1].root()).size(), 1u);
  EXPECT_EQ(words.token(2), "bark");
}

TEST(Conllu, MakesADependencyTreeOfASentence) {
  EXPECT_EQ(dependencies({"0"}), "w1");
  EXPECT_EQ(dependencies({"2", "0", "4", "2"}), "(w2 w1 (w4 w3))");
  EXPECT_EQ(dependencies({"0", "1", "1", "1"}), "(w1 w2 w3 w4)") << "a star";
  EXPECT_EQ(dependencies({"0", "1", "2", "3"}), "(w1 (w2 (w3 w4)))") << "a chain";
  EXPECT_EQ(dependencies({"2", "3", "4", "0"}), "(w4 (w3 (w2 w1)))");
  EXPECT_EQ(dependencies({"3", "4", "0", "3"}), "(w3 w1 (w4 w2))") << "crossing edges";
}

TEST(Conllu, LabelsEveryNodeOfADependencyTreeWithTheTagOfItsWord) {
  Vocabulary words;
  const Tree tree = parse(word("1", "dogs", "NOUN", "2") + other("2-3") +
                              word("2", "bark", "VERB", "0") + word("3", "_", "_", "2") + "\n",
                          words, Structure::dependencies)
                        .at(0);
  ASSERT_EQ(tree.size(), 3);
  EXPECT_EQ(tree.word(tree.root()), words.find("bark"));
  EXPECT_EQ(tree.label(tree.root()), 15) << "VERB";
  EXPECT_EQ(tree.word(0), words.find("dogs"));
  EXPECT_EQ(tree.label(0), 7) << "NOUN";
  EXPECT_EQ(tree.label(1), Tree::kNone);
}

TEST(Conllu, HeadsMayChainAHundredThousandDeep) {
  std::vector<std::string> heads;
  for (int i = 0; i < 100'000; ++i) heads.push_back(std::to_string(i));
  Vocabulary words;
  const std::vector<Tree> trees = parse(sentence(heads), words, Structure::dependencies);
  EXPECT_EQ(depth(trees.at(0)), 99'999);
}

TEST(Conllu, LeavesRangesAndEmptyNodesOut) {
  Vocabulary words;
  const std::vector<Tree> trees =
      parse(other("0.1") + other("0.2") + other("1-2") + word(1) + other("1.1") + word(2) +
                other("2.1") + other("2.2") + other("3-3") + word(3) + word(4) + "\n",
            words);
  ASSERT_EQ(trees.size(), 1u);
  EXPECT_EQ(leaves(trees[0]), (std::vector{1, 2, 3, 4}));
  EXPECT_EQ(words.size(), 5);
}

TEST(Conllu, KeepsSpacesWithinAWord) {
  Vocabulary words;
  parse(word("1", "20 000 \xC3\xA9", "NUM", "0") + "\n", words);
  EXPECT_EQ(words.token(1), "20\u00A0000\u00A0\xC3\xA9");
}

TEST(Conllu, TagsAreInAlphabeticalOrder) {
  EXPECT_TRUE(std::ranges::is_sorted(conllu::kTags));
  for (std::size_t tag = 0; tag < conllu::kTags.size(); ++tag) {
    Vocabulary words;
    const auto trees = parse(word("1", "a", std::string(conllu::kTags[tag]), "0") + "\n", words);
    EXPECT_EQ(trees.at(0).label(0), static_cast<int>(tag));
  }
}

TEST(ConlluTolerates, LineEndsAndEmptyLines) {
  EXPECT_EQ(tolerated(word(1) + "\n", 1), "");
  EXPECT_EQ(tolerated("\uFEFF" + word(1) + "\n", 1), "byte order mark (1)");
  std::string crlf;
  for (const char c : word(1) + word(2) + "\n# c\n" + word(1) + "\n")
    crlf += c == '\n' ? "\r\n" : std::string(1, c);
  EXPECT_EQ(tolerated(crlf, 2), "lines that end in CR LF (6)");
  EXPECT_EQ(tolerated("\n" + word(1) + "\n\n\n" + word(1) + "\n\n", 2), "empty lines too many (4)");
  EXPECT_EQ(tolerated(word(1) + "  \n" + word(1) + "\n", 2), "empty lines of spaces (1)");
  EXPECT_EQ(tolerated(word(1) + "\n" + word(1) + word(2), 2), "no empty line at the end (1)");
  std::string cut = word(1);
  cut.pop_back();
  EXPECT_EQ(tolerated(cut, 1), "no empty line at the end (1)");
}

TEST(ConlluTolerates, Comments) {
  EXPECT_EQ(tolerated("# a\n# b\n" + word(1) + "\n", 1), "");
  EXPECT_EQ(tolerated("# a\n\n" + word(1) + "\n# b", 1), "comments without a sentence (2)");
  EXPECT_EQ(tolerated(word(1) + "# a\n" + word(2) + "\n", 1), "comments between words (1)");
}

TEST(ConlluTolerates, TagsThatAreNotThere) {
  Vocabulary words;
  const std::string text = word(1) + word("2", "a", "_", "1") + "\n";
  EXPECT_EQ(tolerated(text, 1), "UPOS '_', which is no label (1)");
  EXPECT_EQ(parse(text, words).at(0).label(0), 16) << "X";
  EXPECT_EQ(parse(text, words).at(0).label(1), Tree::kNone);
}

TEST(ConlluTolerates, HeadsThatASequenceDoesNotNeed) {
  const std::string good = sentence({"0", "1"});
  EXPECT_EQ(tolerated(sentence({"_", "_"}) + good, 2, Structure::sequence), "HEAD '_' (2)");
  EXPECT_EQ(tolerated(sentence({"9", "_"}), 1, Structure::sequence), "HEAD '_' (1)");
  EXPECT_EQ(tolerated(sentence({"2", "1"}) + good + sentence({"0", "0"}), 3, Structure::sequence),
            "sentences whose HEADs make no tree (2)");
}

TEST(ConlluRefusal, Files) {
  for (const std::string text : {"", "\n", "\n\n", "# comment\n", "# comment\n\n"})
    EXPECT_EQ(refused(text), "t:1:1: found no sentence, expected at least one");
}

TEST(ConlluRefusal, Bytes) {
  const std::string feed = "a line feed after it, or none";
  EXPECT_EQ(refused("# c\r# d\n"), "t:1:4: found a carriage return, expected " + feed);
  EXPECT_EQ(refused(word(1) + "\r"), "t:2:1: found a carriage return, expected " + feed);
  for (const std::string bad : {"\xFF", "\x80", "\xC3", "\xC0\x80", "\xE2\x82", "\xED\xA0\x80",
                                "\xF4\x90\x80\x80", "\xE0\x80\x80", "\xF0\x80\x80\x80", "\xF5"})
    EXPECT_EQ(refused("# " + bad + "\n" + word(1) + "\n"),
              fmt::format("t:1:3: found byte 0x{:02X}, expected UTF-8",
                          static_cast<unsigned char>(bad[0])));
  EXPECT_EQ(refused(word(1) + "\n# \xE2\x82"), "t:3:3: found byte 0xE2, expected UTF-8");
  EXPECT_EQ(refused(word("1", std::string("a\0b", 3), "X", "0")),
            "t:1:4: found '\\x00', expected no control characters");
  EXPECT_EQ(refused(word(1) + "\n\uFEFF" + word(1) + "\n").substr(0, 17), "t:3:1: found '\\uF");
  Vocabulary words;
  EXPECT_EQ(
      parse("# \xF0\x9F\x8C\xB3 \xED\x9F\xBF \xF4\x8F\xBF\xBF\n" + word(1) + "\n", words).size(),
      1u);
}

TEST(ConlluRefusal, Fields) {
  EXPECT_EQ(refused("1\ta\t_\tX\n\n"),
            "t:1:8: found the end of the line after 4 of 10 fields, expected a tab and XPOS");
  EXPECT_EQ(refused("1\ta\t_\tX\t_\t_\t0\t_\t_\t_\t_\n\n"),
            "t:1:20: found a tab after 10 fields, expected the end of the line");
  EXPECT_EQ(refused("1\ta\t_\tX\t_\t_\t0\t_\t_\t\n\n"),
            "t:1:19: found an empty field, expected MISC or '_'");
  EXPECT_EQ(refused("1\t\t_\tX\t_\t_\t0\t_\t_\t_\n\n"),
            "t:1:3: found an empty field, expected FORM or '_'");
  EXPECT_EQ(refused("\ta\t_\tX\t_\t_\t0\t_\t_\t_\n\n"), "t:1:1: found an empty field, expected ID");
  EXPECT_EQ(refused("1 a _ X _ _ 0 _ _ _\n\n"),
            "t:1:1: found '1 a _ X _ _ 0 _ _ _', expected ID without spaces");
  EXPECT_EQ(refused(word("1", " a", "X", "0")),
            "t:1:3: found ' a', expected FORM without spaces at its ends");
  EXPECT_EQ(refused(" \t\n"), "t:1:1: found ' ', expected ID without spaces at its ends");
}

TEST(ConlluRefusal, Ids) {
  const std::string first = "ID 1, a range that begins with it, or an empty node 0.1";
  for (const std::string id :
       {"2",  "0", "01",   "-1",   "+1",  "a",   "_",  "1a", "2-3",  "0-1",
        "1-", "-", "1-1x", "01-2", "1.1", "0.2", "0.", ".1", "0.01", "99999999999"})
    EXPECT_EQ(refused(word(id, "a", "X", "0")), "t:1:1: found '" + id + "', expected " + first);
  EXPECT_EQ(refused(word(1) + word(1)),
            "t:2:1: found '1', expected ID 2, a range that begins with it, or an empty node 1.1");
  EXPECT_EQ(refused(word(1) + other("1.1") + other("1.1")),
            "t:3:1: found '1.1', expected ID 2, a range that begins with it, or an empty node 1.2");
}

TEST(ConlluRefusal, Ranges) {
  EXPECT_EQ(refused(other("2-1")),
            "t:1:1: found '2-1', expected ID 1, a range that begins with it, or an empty node 0.1");
  EXPECT_EQ(refused(other("1-2") + other("1-2")),
            "t:2:1: found '1-2', expected ID 1, the first of the range 1-2");
  EXPECT_EQ(refused(other("1-2") + other("0.1")),
            "t:2:1: found '0.1', expected ID 1, the first of the range 1-2");
  EXPECT_EQ(refused(other("1-3") + word(1) + other("2-3")),
            "t:3:1: found '2-3', expected ID 2 or an empty node 1.1");
  EXPECT_EQ(refused(word(1) + other("2-4") + word(2) + word(3) + "\n"),
            "t:2:1: found '2-4', expected a range within the 3 words of the sentence");
  EXPECT_EQ(refused(other("1-1") + "\n"),
            "t:2:1: found an empty line, expected the first word of a sentence");
  EXPECT_EQ(refused(other("0.1")),
            "t:2:1: found the end of the file, expected the first word of a sentence");
  EXPECT_EQ(refused(word("1-2", "a", "_", "0")),
            "t:1:15: found '0', expected '_': only words have a HEAD");
  EXPECT_EQ(refused(word("0.1", "a", "_", "1")),
            "t:1:15: found '1', expected '_': only words have a HEAD");
}

TEST(ConlluRefusal, Tags) {
  for (const std::string tag : {"-", "noun", "NN", "NOUNS"})
    EXPECT_EQ(refused(word("1", "a", tag, "0")),
              "t:1:7: found '" + tag +
                  "', expected a universal part-of-speech tag (ADJ, ADP, ADV, AUX, CCONJ, DET, "
                  "INTJ, NOUN, NUM, PART, PRON, PROPN, PUNCT, SCONJ, SYM, VERB, X)");
}

TEST(ConlluRefusal, Heads) {
  const auto heads = [](const std::vector<std::string>& heads) { return refused(sentence(heads)); };
  EXPECT_EQ(heads({"0", "3"}),
            "t:2:14: found '3', expected 0 or the ID of one of the 2 words as HEAD");
  for (const std::string bad : {"_", "-1", "01", "x", "99999999999", "1.1"})
    EXPECT_EQ(heads({"0", bad}),
              "t:2:14: found '" + bad + "', expected 0 or the ID of a word as HEAD");
  EXPECT_EQ(heads({"2", "0", "0"}),
            "t:3:14: found '0', expected one root, which is word 2 already");
  EXPECT_EQ(heads({"2", "1"}),
            "t:1:14: found '2', expected HEAD 0 at exactly one word of the sentence, and there is "
            "none");
  EXPECT_EQ(heads({"0", "2"}), "t:2:14: found '2', expected a HEAD that leads word 2 to the root");
  EXPECT_EQ(heads({"0", "4", "2", "3", "2"}),
            "t:2:14: found '4', expected a HEAD that leads word 2 to the root");
  EXPECT_EQ(refused(sentence({"0", "-1"}), Structure::sequence),
            "t:2:14: found '-1', expected 0 or the ID of a word as HEAD");
}

}  // namespace
}  // namespace espalier::data
