// What is read; treebank_refusal_test.cpp has what is refused.
#include "data/treebank.h"

#include <gtest/gtest.h>

#include <iterator>
#include <string_view>

#include "base/random.h"
#include "data/text_file.h"
#include "tests/data/support.h"

namespace espalier::data {
namespace {

constexpr const char* kIt = "(3 (2 It) (4 (2 really) (4 works)))";

Treebank sst(std::string text, Vocabulary& words, const TreebankOptions& options = {}) {
  return parse_sst({"t", std::move(text)}, options, words);
}

Treebank ptb(std::string text, Vocabulary& words, const TreebankOptions& options = {}) {
  return parse_ptb({"t", std::move(text)}, options, words);
}

// The trees of an SST text, one a line.
std::string reread(const std::string& text) {
  Vocabulary words;
  std::string result;
  for (const Tree& tree : sst(text, words).trees) result += bracketed(tree, words) + "\n";
  return result;
}

TEST(Sst, ReadsATree) {
  Vocabulary words;
  const Treebank bank = sst(std::string(kIt) + "\n", words);
  ASSERT_EQ(bank.trees.size(), 1u);
  const Tree& tree = bank.trees[0];
  EXPECT_EQ(bank.classes, 5);
  EXPECT_EQ(tree.size(), 5);
  EXPECT_EQ(leaves(tree), (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(leaf_labels(tree), (std::vector<int>{2, 2, 4}));
  EXPECT_EQ(tree.label(tree.root()), 3);
  EXPECT_EQ(words.token(2), "really");
  EXPECT_EQ(bracketed(tree, words), kIt);
}

TEST(Sst, ReadsASingleLeaf) { EXPECT_EQ(reread("(1 so-so)\n"), "(1 so-so)\n"); }

TEST(Sst, BlankLinesAndWhiteSpaceOnlySeparate) {
  const std::string expected = std::string(kIt) + "\n(0 (0 a) (1 b))\n";
  EXPECT_EQ(reread(expected), expected);
  EXPECT_EQ(reread("\n \t\n" + std::string(kIt) + "\n\n\n(0 (0 a) (1 b))\n \n"), expected);
  EXPECT_EQ(reread(std::string(kIt) + "\r\n\r\n(0 (0 a) (1 b))\r\n"), expected) << "CRLF";
  EXPECT_EQ(reread(std::string(kIt) + "\n(0 (0 a) (1 b))"), expected) << "no last newline";
  EXPECT_EQ(reread("(3(2 It)(4(2\treally )( 4 works)) ) \n( 0\v(0 a)\f(1 b))\n"), expected);
}

TEST(Sst, NonBreakingSpaceIsPartOfAWord) {
  Vocabulary words;
  const Tree tree = sst("(2 8\u00A01\\/2)", words).trees[0];
  EXPECT_EQ(words.token(tree.word(0)), "8\u00A01\\/2");
}

TEST(Sst, EscapesStayUnlessAskedFor) {
  const std::string text = "(2 (2 -LRB-) (2 (2 -LSB-) (2 -RRB-)))";
  Vocabulary verbatim, plain;
  sst(text, verbatim);
  EXPECT_EQ(verbatim.token(1), "-LRB-");
  const Treebank bank = sst(text, plain, {.unescape = true});
  EXPECT_EQ(plain.token(1), "(");
  EXPECT_EQ(plain.token(2), "[");
  EXPECT_EQ(plain.token(3), ")");
  EXPECT_EQ(bracketed(bank.trees[0], plain), "(2 (2 -LRB-) (2 (2 [) (2 -RRB-)))");
}

TEST(Sst, ClassesAreAnOption) {
  Vocabulary words;
  EXPECT_EQ(sst("(11 x)", words, {.classes = 12}).trees[0].label(0), 11);
}

TEST(Sst, FrozenVocabularyGivesUnknown) {
  Vocabulary words;
  sst("(2 (2 a) (2 b))", words);
  words.freeze();
  EXPECT_EQ(leaves(sst("(2 (2 b) (2 c))", words).trees[0]),
            (std::vector<int>{2, Vocabulary::kUnknown}));
}

TEST(Ptb, ReadsTreesOverSeveralLines) {
  Vocabulary words;
  const Treebank bank =
      ptb("\n( (S \n    (NP (DT The) (JJ old) (NN cat))\r\n    (VP (VBD sat))\n    (. .) ))\n"
          "( (NP (NN cat)) )\n(X (A b)) ((NN dog))",
          words);
  ASSERT_EQ(bank.trees.size(), 4u);
  EXPECT_EQ(bank.label_names,
            (std::vector<std::string>{"S", "NP", "DT", "JJ", "NN", "VP", "VBD", ".", "X", "A"}));
  EXPECT_EQ(bank.classes, 10);
  EXPECT_EQ(bracketed(bank.trees[0], words, bank.label_names),
            "(S (NP (DT The) (JJ old) (NN cat)) (VP (VBD sat)) (. .))");
  EXPECT_EQ(bracketed(bank.trees[1], words, bank.label_names), "(NP (NN cat))");
  EXPECT_EQ(bracketed(bank.trees[2], words, bank.label_names), "(X (A b))");
  EXPECT_EQ(bracketed(bank.trees[3], words, bank.label_names), "(NN dog)");
  EXPECT_EQ(words.size(), 8);
}

TEST(Ptb, LabelsMayBeAbsent) {
  Vocabulary words;
  const Treebank bank = ptb("((a) (X (b) ((c) (Y d))))", words);
  EXPECT_EQ(bracketed(bank.trees[0], words, bank.label_names), "((a) (X (b) ((c) (Y d))))");
  EXPECT_EQ(bank.trees[0].label(bank.trees[0].root()), Tree::kNone);
  EXPECT_EQ(bank.classes, 2);
}

TEST(Ptb, IntegerLabelsAreTakenAsTheyAre) {
  Vocabulary words;
  const Treebank bank = ptb("(3 (0 a)\n (12 b))", words);
  EXPECT_TRUE(bank.label_names.empty());
  EXPECT_EQ(bank.classes, 13);
  EXPECT_EQ(bracketed(bank.trees[0], words), "(3 (0 a) (12 b))");
}

TEST(Ptb, AnyOtherLabelMakesThemNames) {
  Vocabulary words;
  EXPECT_EQ(ptb("(3 (0 a) (NN b))", words).label_names, (std::vector<std::string>{"3", "0", "NN"}));
  EXPECT_EQ(ptb("(3 (0 a) (1000 b))", words).label_names,
            (std::vector<std::string>{"3", "0", "1000"}));
}

TEST(Ptb, KnownLabelNamesKeepTheirNumbers) {
  Vocabulary words;
  const Treebank bank = ptb("(A (C x))", words, {.label_names = {"C", "B", "A"}});
  EXPECT_EQ(bank.classes, 3);
  EXPECT_EQ(bank.label_names, (std::vector<std::string>{"C", "B", "A"}));
  EXPECT_EQ(bank.trees[0].label(0), 0);
  EXPECT_EQ(bank.trees[0].label(1), 2);
}

TEST(Ptb, MayBeBinaryUnderItsWrapper) {
  Vocabulary words;
  EXPECT_EQ(ptb("( (S (A a) (B b)) )", words, {.binary = true}).trees[0].size(), 3);
}

TEST(Ptb, LabelsThatAreSpelledDifferentlyAreDifferent) {
  Vocabulary words;
  const Treebank bank = ptb("(01 (1 ice) (007 melts))", words);
  EXPECT_EQ(bank.label_names, (std::vector<std::string>{"01", "1", "007"}));
  EXPECT_EQ(bank.classes, 3);
}

TEST(Ptb, TokensNeedNotBeUtf8) {
  Vocabulary words;
  const Treebank bank = ptb("(A caf\xE9) (A caf\xC3\xA9) (A \xFF)", words);
  EXPECT_EQ(words.token(1), "caf\xE9");
  EXPECT_EQ(words.token(2), "caf\xC3\xA9");
  EXPECT_EQ(bank.tolerated.to_text(), "tokens that are not UTF-8 (2)");
}

TEST(Treebank, CommentsBetweenTreesAreSkippedAndCounted) {
  Vocabulary words;
  const std::string text =
      "*x*x*x* (C) (A a)\n  # (A b)\n(A (# #) (; ;))\n;; c\n%% d\n\n(A (% %) (*x* *x*)) # e";
  const Treebank bank = ptb(text, words);
  ASSERT_EQ(bank.trees.size(), 2u);
  EXPECT_EQ(bracketed(bank.trees[0], words, bank.label_names), "(A (# #) (; ;))");
  EXPECT_EQ(bracketed(bank.trees[1], words, bank.label_names), "(A (% %) (*x* *x*))");
  EXPECT_EQ(bank.tolerated.to_text(), "comments (5)");
  EXPECT_EQ(reread("# one\n(1 a)\n# two\n\n(2 b)\n#"), "(1 a)\n(2 b)\n");
  EXPECT_EQ(ptb("(A a)", words).tolerated.to_text(), "");
}

TEST(Treebank, AByteOrderMarkIsNoTree) {
  Vocabulary words;
  const Treebank bank = parse_ptb(text_file("t", "\uFEFF# c\n(A a)"), {}, words);
  EXPECT_EQ(bank.trees.size(), 1u);
  EXPECT_EQ(bank.tolerated.to_text(), "byte order mark (1), comments (1)");
}

TEST(Treebank, WordsOfInnerNodesCannotBeWritten) {
  TreeBuilder builder;
  builder.leaf(0);
  builder.node(1, Tree::kNone, 0);
  const Tree tree = builder.finish();
  EXPECT_EQ(refusal([&] { bracketed(tree, Vocabulary()); }),
            "tree node 1: found a word at an inner node, expected words at leaves");
}

// Whatever the text, it is refused with its place, or read whole: then it comes back as written.
TEST(Treebank, IsReadWholeOrRefused) {
  constexpr std::string_view kPieces[] = {"(",  "(", "(2 ", "(1 a)", ")",   ")",   " ",
                                          "\n", "b", "3",   "# c\n", "01 ", "\xE9"};
  Random random(11);
  int accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    for (int length = random.below(12); length >= 0; --length)
      text += kPieces[random.below(std::size(kPieces))];
    for (const bool as_sst : {true, false}) {
      SCOPED_TRACE(text);
      Vocabulary words;
      try {
        const Treebank bank = as_sst ? sst(text, words) : ptb(text, words);
        std::string again;
        for (const Tree& tree : bank.trees)
          again += bracketed(tree, words, bank.label_names) + "\n";
        Vocabulary same;
        const Treebank copy =
            as_sst ? sst(again, same) : ptb(again, same, {.label_names = bank.label_names});
        EXPECT_TRUE(copy.trees == bank.trees);
        EXPECT_EQ(same, words);
        ++accepted;
      } catch (const UserError& error) {
        EXPECT_EQ(std::string_view(error.what()).substr(0, 2), "t:");
      }
    }
  }
  EXPECT_GT(accepted, 500);
}

TEST(Treebank, MayNest100000Deep) {
  constexpr int kDepth = 100'000;
  const std::string text = repeated("(2 (1 a) ", kDepth) + "(3 b)" + repeated(")", kDepth) + "\n";
  EXPECT_EQ(reread(text), text);
  Vocabulary words;
  EXPECT_EQ(depth(ptb(text, words).trees[0]), kDepth);
  EXPECT_EQ(depth(ptb(repeated("(X\n", kDepth) + "(a)" + repeated(")", kDepth), words).trees[0]),
            kDepth);
}

}  // namespace
}  // namespace espalier::data
