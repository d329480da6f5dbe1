// Every way in which a bracket file can be wrong, with the exact place and words of the complaint.
#include <gtest/gtest.h>

#include "data/treebank.h"
#include "tests/data/support.h"

namespace espalier::data {
namespace {

// With the name of the file cut off.
std::string sst(std::string text, const TreebankOptions& options = {}) {
  Vocabulary words;
  return refusal([&] { parse_sst({"t", std::move(text)}, options, words); }).substr(1);
}

std::string ptb(std::string text, const TreebankOptions& options = {}) {
  Vocabulary words;
  return refusal([&] { parse_ptb({"t", std::move(text)}, options, words); }).substr(1);
}

TEST(SstRefusal, NoTree) {
  EXPECT_EQ(sst(""), ":1:1: found no tree, expected at least one");
  EXPECT_EQ(sst(" \r\n\n"), ":1:1: found no tree, expected at least one");
}

TEST(SstRefusal, BracketsLeftOpen) {
  EXPECT_EQ(sst("(2 (2 a) (2 b)\n(2 c)\n"),
            ":1:15: found the end of the line, expected ')' after two children (ptb:FILE may hold "
            "trees of any arity)");
  EXPECT_EQ(sst("(2 c)\n(2 (2 a)\n"), ":2:9: found the end of the line, expected '(' or ')'");
  EXPECT_EQ(
      sst("(2 c)\n(2 (2 a)"),
      ":2:9: found the end of the file, expected '(' or ')' in the tree that begins on line 2");
  EXPECT_EQ(sst("(2 a\n"),
            ":1:5: found the end of the line, expected ')' after the token of a leaf");
  EXPECT_EQ(sst("(2\n"), ":1:3: found the end of the line, expected a token or '('");
  EXPECT_EQ(
      sst("(\n"),
      ":1:2: found the end of the line, expected a label 0..4 (ptb:FILE may hold any labels)");
  EXPECT_EQ(sst("(2 a\r\n"),
            ":1:6: found the end of the line, expected ')' after the token of a leaf");
}

TEST(SstRefusal, BracketsClosedTooOften) {
  EXPECT_EQ(sst("(2 (2 a) (2 b)))\n"), ":1:16: found ')', expected the end of the line");
  EXPECT_EQ(sst("(2 a)\n)\n"), ":2:1: found ')', expected '(' or the end of the file");
}

TEST(SstRefusal, TextAroundTrees) {
  EXPECT_EQ(sst("word"), ":1:1: found 'word', expected '(' or the end of the file");
  EXPECT_EQ(sst("(2 a) (2 b)\n"), ":1:7: found '(', expected the end of the line");
  EXPECT_EQ(sst("(2 a) b\n"), ":1:7: found 'b', expected the end of the line");
  EXPECT_EQ(sst("\u00A0\n"), ":1:1: found '\\u00A0', expected '(' or the end of the file");
}

TEST(SstRefusal, NodesThatAreNotBinary) {
  EXPECT_EQ(
      sst("(2 (2 a))\n"),
      ":1:9: found ')', expected '(' of a second child (ptb:FILE may hold trees of any arity)");
  EXPECT_EQ(
      sst("(2 x)\n(2 (2 a) (2 b) (2 c))\n"),
      ":2:16: found '(', expected ')' after two children (ptb:FILE may hold trees of any arity)");
  EXPECT_EQ(
      sst("(2 (2 a) (2 b) c)\n"),
      ":1:16: found 'c', expected ')' after two children (ptb:FILE may hold trees of any arity)");
}

TEST(SstRefusal, Labels) {
  EXPECT_EQ(sst("(2 (2 a) (5 b))"),
            ":1:11: found '5', expected a label 0..4 (ptb:FILE may hold any labels)");
  EXPECT_EQ(sst("(-1 a)"),
            ":1:2: found '-1', expected a label 0..4 (ptb:FILE may hold any labels)");
  EXPECT_EQ(
      sst("(99999999999999999999 a)"),
      ":1:2: found '99999999999999999999', expected a label 0..4 (ptb:FILE may hold any labels)");
  EXPECT_EQ(sst("(2.0 a)"),
            ":1:2: found '2.0', expected a label 0..4 (ptb:FILE may hold any labels)");
  EXPECT_EQ(sst("(NP a)"),
            ":1:2: found 'NP', expected a label 0..4 (ptb:FILE may hold any labels)");
  EXPECT_EQ(sst("(2 a)", {.classes = 2}),
            ":1:2: found '2', expected a label 0..1 (ptb:FILE may hold any labels)");
  EXPECT_EQ(sst("(2 (a) (2 b))"),
            ":1:5: found 'a', expected a label 0..4 (ptb:FILE may hold any labels)");
  EXPECT_EQ(sst("((2 a) (2 b))"),
            ":1:2: found '(', expected a label 0..4 (ptb:FILE may hold any labels)");
  EXPECT_EQ(sst("(2 () (2 b))"),
            ":1:5: found ')', expected a label 0..4 (ptb:FILE may hold any labels)");
}

TEST(SstRefusal, Leaves) {
  EXPECT_EQ(sst("(2)"), ":1:3: found ')', expected a token or '('");
  EXPECT_EQ(sst("(2 two words)"), ":1:8: found 'words', expected ')' after the token of a leaf");
  EXPECT_EQ(sst("(2 a (2 b))"), ":1:6: found '(', expected ')' after the token of a leaf");
  EXPECT_EQ(sst("(2 (2 a) b)"), ":1:10: found 'b', expected '(' or ')'");
}

TEST(SstRefusal, NulBytes) {
  EXPECT_EQ(sst(std::string("(2 a\0b)", 7)), ":1:5: found a NUL byte, expected text");
  EXPECT_EQ(sst(std::string("(\0002 a)", 6)), ":1:2: found a NUL byte, expected text");
  EXPECT_EQ(sst(std::string("(2 a)\0", 6)), ":1:6: found a NUL byte, expected the end of the line");
  EXPECT_EQ(sst(std::string("(2 a)\n\0", 7)),
            ":2:1: found a NUL byte, expected '(' or the end of the file");
}

TEST(SstRefusal, ColumnsCountBytes) {
  EXPECT_EQ(sst("(2 (2 é) (9 b))"),
            ":1:12: found '9', expected a label 0..4 (ptb:FILE may hold any labels)");
}

TEST(SstRefusal, LongAtomsAreCutAndControlBytesAreSpelled) {
  EXPECT_EQ(sst("(" + std::string(50, 'x') + " a)"),
            ":1:2: found '" + std::string(40, 'x') +
                "'…, expected a label 0..4 (ptb:FILE may hold any labels)");
  EXPECT_EQ(sst("(\x1B[2J a)"),
            ":1:2: found '\\x1B[2J', expected a label 0..4 (ptb:FILE may hold any labels)");
}

TEST(SstRefusal, InvisibleCharactersAreSpelledAndNoneIsCutInHalf) {
  EXPECT_EQ(sst("\uFEFF(2 a)"), ":1:1: found '\\uFEFF', expected '(' or the end of the file");
  EXPECT_EQ(sst("(2\u00A0a)"),
            ":1:2: found '2\\u00A0a', expected a label 0..4 (ptb:FILE may hold any labels)");
  EXPECT_EQ(sst("(x" + repeated("é", 30) + " a)"),
            ":1:2: found 'x" + repeated("é", 19) +
                "'…, expected a label 0..4 (ptb:FILE may hold any labels)");
}

TEST(SstRefusal, UnbalancedAt100000Deep) {
  const std::string open = repeated("(2 (1 a) ", 100'000);
  EXPECT_EQ(sst(open + "\n"), ":1:900001: found the end of the line, expected '(' or ')'");
}

TEST(PtbRefusal, Brackets) {
  EXPECT_EQ(ptb(""), ":1:1: found no tree, expected at least one");
  EXPECT_EQ(
      ptb("( (S (A a)\n (B b))\n\n( (S (A a)) )\n"),
      ":5:1: found the end of the file, expected '(' or ')' in the tree that begins on line 1");
  EXPECT_EQ(ptb("( (S (A a))\n) )\n"), ":2:3: found ')', expected '(' or the end of the file");
  EXPECT_EQ(ptb("(S ())"), ":1:5: found ')', expected a token or '('");
  EXPECT_EQ(ptb("(S (A a) b)"), ":1:10: found 'b', expected '(' or ')'");
  EXPECT_EQ(ptb("(S (A a b))"), ":1:9: found 'b', expected ')' after the token of a leaf");
}

TEST(PtbRefusal, NodesThatAreNotBinaryIfAsked) {
  EXPECT_EQ(ptb("(S (A a)\n (B b)\n (C c))", {.binary = true}),
            ":3:2: found '(', expected ')' after two children");
  EXPECT_EQ(ptb("(S (A a))", {.binary = true}), ":1:9: found ')', expected '(' of a second child");
  EXPECT_EQ(ptb("( (S ((A a)) (B b)) )", {.binary = true}),
            ":1:12: found ')', expected '(' of a second child");
}

TEST(PtbRefusal, SaysWhyTreesMustBeBinary) {
  EXPECT_EQ(ptb("(S (A a) (B b) (C c))", {.binary = true, .binary_reason = "m reads no other"}),
            ":1:16: found '(', expected ')' after two children (m reads no other)");
  EXPECT_EQ(ptb("(S (A a))", {.binary = true, .binary_reason = "m reads no other"}),
            ":1:9: found ')', expected '(' of a second child (m reads no other)");
}

TEST(PtbRefusal, IntegerLabelsHaveOneSpelling) {
  for (const std::string label : {"01", "00", "-0", "-1", "+1", "1.", "99999999999"})
    EXPECT_EQ(ptb("(" + label + " a)", {.classes = 3}),
              ":1:2: found '" + label + "', expected a label 0..2");
}

TEST(PtbRefusal, LabelsThatAreNotUtf8) {
  EXPECT_EQ(
      ptb("(S (NM a)\n (N\xE9M b))"),
      ":2:4: found the label 'N\\xE9M', expected UTF-8 (a file in Latin-1 must be converted)");
  EXPECT_EQ(sst("(\xE9 b)"),
            ":1:2: found the label '\\xE9', expected UTF-8 (a file in Latin-1 must be converted)");
}

TEST(PtbRefusal, CommentsAreBetweenTrees) {
  EXPECT_EQ(ptb("(S (A a)\n# a note\n (B b))"), ":2:1: found '#', expected '(' or ')'");
  EXPECT_EQ(ptb("# a note"), ":1:1: found no tree, expected at least one");
  EXPECT_EQ(ptb("*y*\n(A b)"), ":1:1: found '*y*', expected '(' or the end of the file");
}

TEST(PtbRefusal, Labels) {
  EXPECT_EQ(ptb("(3 (1 a) (2 b))", {.classes = 3}), ":1:2: found '3', expected a label 0..2");
  EXPECT_EQ(ptb("(S (A a))", {.label_names = {"S", "B"}}),
            ":1:5: found 'A', expected one of the 2 known labels");
}

}  // namespace
}  // namespace espalier::data
