// The identities one by one, on text: what a cell becomes. That they keep values is tested on
// random programs.
#include "ir/passes/simplify.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "ir/op.h"
#include "ir/text/parse.h"
#include "ir/text/print.h"

namespace espalier::ir {
namespace {

/// The simplified body of a cell with ports x, y, hs and the param w, without its braces; the last
/// value is what it returns.
std::string simplified(const std::string& body, const std::string& result = "f32[4]") {
  // The last line defines what is returned.
  std::string name;
  for (std::size_t at = 0; (at = body.find('%', at)) != body.npos; ++at)
    if (at == 0 || body[at - 1] == '\n') name = body.substr(at, body.find(' ', at) - at);
  const Program program =
      parse("program test param w [4, 4] glorot state S f32[4] state M f32[4, 4] state R " +
            result + "\ncell c(x: child S, y: child M, i: index, hs: children S) -> R {\n" + body +
            "\nreturn " + name + " }");
  const Cell cell = simplify(program.cells[0]);
  std::string text = print(cell, program);
  text = text.substr(text.find('\n') + 1);
  text = text.substr(0, text.find("  return"));
  std::string lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    lines += text.substr(at + 2, end - at - 1);
    at = end + 1;
  }
  return lines;
}

const std::string x = "%0 = port x.0 : f32[4]\n";
const std::string y = "%1 = port y.0 : f32[4, 4]\n";
const std::string same = "%0 = port x.0 : f32[4]\n";

std::string constant(const std::string& name, double value, const std::string& type = "f32[4]") {
  return fmt::format("{} = constant(value={}) : {}\n", name, value, type);
}

TEST(Simplify, FoldsConstants) {
  EXPECT_EQ(simplified(constant("%0", 2) + constant("%1", 3) + "%2 = mul(%0, %1) : f32[4]"),
            constant("%0", 6));
  EXPECT_EQ(
      simplified(constant("%0", 2, "f32[2, 4]") + "%1 = slice(%0, axis=0, begin=1) : f32[1, 4]\n"
                                                  "%2 = reshape(%1) : f32[4]"),
      constant("%0", 2));
  EXPECT_EQ(
      simplified(constant("%0", 2) + constant("%1", 2) + "%2 = concat(%0, %1, axis=0) : f32[8]",
                 "f32[8]"),
      constant("%0", 2, "f32[8]"));
}

TEST(Simplify, DropsNeutralElements) {
  const std::string zero = constant("%5", 0), one = constant("%6", 1);
  EXPECT_EQ(simplified(x + zero + "%7 = add(%0, %5) : f32[4]"), same);
  EXPECT_EQ(simplified(x + zero + "%7 = add(%5, %0) : f32[4]"), same);
  EXPECT_EQ(simplified(x + zero + "%7 = sub(%0, %5) : f32[4]"), same);
  EXPECT_EQ(simplified(x + one + "%7 = mul(%0, %6) : f32[4]"), same);
  EXPECT_EQ(simplified(x + one + "%7 = mul(%6, %0) : f32[4]"), same);
  EXPECT_EQ(simplified(x + one + "%7 = div(%0, %6) : f32[4]"), same);
  EXPECT_EQ(simplified(x + zero + "%7 = where(%5, %5, %0) : f32[4]"), same);
  EXPECT_EQ(simplified(x + one + "%7 = where(%6, %0, %6) : f32[4]"), same);
}

TEST(Simplify, FollowsZeros) {
  const std::string zero = constant("%5", 0);
  const std::string result = constant("%0", 0);
  EXPECT_EQ(simplified(x + zero + "%7 = mul(%0, %5) : f32[4]"), result);
  EXPECT_EQ(simplified(x + zero + "%7 = div(%5, %0) : f32[4]"), result);
  EXPECT_EQ(simplified(y + zero + "%7 = matmul(%1, %5) : f32[4]"), result);
  EXPECT_EQ(simplified(constant("%5", 0, "f32[4]*hs") + "%7 = sum_children(%5) : f32[4]"), result);
  EXPECT_EQ(simplified(constant("%5", 0, "f32[3, 4]") + "%7 = sum(%5, axis=0) : f32[4]"), result);
  // The largest of no children is not 0.
  const std::string most = constant("%0", 0, "f32[4]*hs") + "%1 = max_children(%0) : f32[4]\n";
  EXPECT_EQ(simplified(most), most);
}

TEST(Simplify, TakesSignsTogether) {
  const std::string two = x + "%1 = exp(%0) : f32[4]\n", kept = x + "%1 = exp(%0) : f32[4]\n";
  EXPECT_EQ(simplified(two + "%2 = neg(%1) : f32[4]\n%3 = add(%0, %2) : f32[4]"),
            kept + "%2 = sub(%0, %1) : f32[4]\n");
  EXPECT_EQ(simplified(two + "%2 = neg(%1) : f32[4]\n%3 = sub(%0, %2) : f32[4]"),
            kept + "%2 = add(%0, %1) : f32[4]\n");
  EXPECT_EQ(simplified(two + "%2 = sub(%0, %1) : f32[4]\n%3 = neg(%2) : f32[4]"),
            kept + "%2 = sub(%1, %0) : f32[4]\n");
  EXPECT_EQ(simplified(x + "%2 = neg(%0) : f32[4]\n%3 = neg(%2) : f32[4]"), same);
  EXPECT_EQ(simplified(x + constant("%5", -1) + "%3 = mul(%0, %5) : f32[4]"),
            x + "%1 = neg(%0) : f32[4]\n");
}

TEST(Simplify, CancelsMovements) {
  EXPECT_EQ(simplified(x + "%1 = reshape(%0) : f32[2, 2]\n%2 = reshape(%1) : f32[4]"), same);
  EXPECT_EQ(
      simplified(y + "%2 = transpose(%1) : f32[4, 4]\n%3 = transpose(%2) : f32[4, 4]", "f32[4, 4]"),
      "%0 = port y.0 : f32[4, 4]\n");
  EXPECT_EQ(simplified(x + "%1 = concat(%0, axis=0) : f32[4]"), same);
  EXPECT_EQ(simplified(x + "%1 = broadcast(%0) : f32[4]"), same);
  EXPECT_EQ(simplified(x + "%1 = reshape(%0) : f32[1, 4]\n%2 = sum(%1, axis=0) : f32[4]"), same);
  EXPECT_EQ(simplified(x + "%1 = outer(%0, %0) : f32[4, 4]\n%2 = exp(%0) : f32[4]\n"
                           "%3 = outer(%0, %2) : f32[4, 4]\n%4 = transpose(%3) : f32[4, 4]",
                       "f32[4, 4]"),
            x + "%1 = exp(%0) : f32[4]\n%2 = outer(%1, %0) : f32[4, 4]\n");
}

TEST(Simplify, MovesSlicesTowardTheLeaves) {
  const std::string cut = "%1 = slice(%0, axis=0, begin=1) : f32[2]\n";
  EXPECT_EQ(
      simplified(x + "%1 = exp(%0) : f32[4]\n%2 = slice(%1, axis=0, begin=1) : f32[2]", "f32[2]"),
      x + cut + "%2 = exp(%1) : f32[2]\n");
  EXPECT_EQ(simplified(x + "%1 = slice(%0, axis=0, begin=1) : f32[3]\n"
                           "%2 = slice(%1, axis=0, begin=1) : f32[2]",
                       "f32[2]"),
            x + "%1 = slice(%0, axis=0, begin=2) : f32[2]\n");
  EXPECT_EQ(simplified(y + "%2 = transpose(%1) : f32[4, 4]\n"
                           "%3 = slice(%2, axis=0, begin=1) : f32[2, 4]",
                       "f32[2, 4]"),
            "%0 = port y.0 : f32[4, 4]\n%1 = slice(%0, axis=1, begin=1) : f32[4, 2]\n"
            "%2 = transpose(%1) : f32[2, 4]\n");
  // Through a concat, to the parts that it meets.
  EXPECT_EQ(simplified(x + "%1 = exp(%0) : f32[4]\n%2 = concat(%1, %0, axis=0) : f32[8]\n"
                           "%3 = slice(%2, axis=0, begin=5) : f32[2]",
                       "f32[2]"),
            x + cut);
  EXPECT_EQ(simplified(x + "%1 = concat(%0, %0, axis=0) : f32[8]\n"
                           "%2 = slice(%1, axis=0, begin=3) : f32[2]",
                       "f32[2]"),
            x + "%1 = slice(%0, axis=0, begin=3) : f32[1]\n"
                "%2 = slice(%0, axis=0, begin=0) : f32[1]\n"
                "%3 = concat(%1, %2, axis=0) : f32[2]\n");
  // Not through a contraction: that stays one.
  const std::string product =
      "%0 = param w : f32[4, 4]\n%1 = port x.0 : f32[4]\n"
      "%2 = matmul(%0, %1) : f32[4]\n"
      "%3 = slice(%2, axis=0, begin=1) : f32[2]\n";
  EXPECT_EQ(simplified(product, "f32[2]"), product);
}

TEST(Simplify, JoinsOuterProductsOfOneVector) {
  const std::string e = "%1 = exp(%0) : f32[4]\n", t = "%2 = tanh(%0) : f32[4]\n";
  EXPECT_EQ(simplified(x + e + t +
                           "%3 = outer(%1, %0) : f32[4, 4]\n"
                           "%4 = outer(%2, %0) : f32[4, 4]\n" +
                           constant("%5", 0, "f32[2, 4]") +
                           "%6 = concat(%3, %5, %4, axis=0) : f32[10, 4]",
                       "f32[10, 4]"),
            x + e + t + constant("%3", 0, "f32[2]") +
                "%4 = concat(%1, %3, %2, axis=0) : f32[10]\n"
                "%5 = outer(%4, %0) : f32[10, 4]\n");
  EXPECT_EQ(simplified(x + e + t +
                           "%3 = outer(%0, %1) : f32[4, 4]\n"
                           "%4 = outer(%0, %2) : f32[4, 4]\n"
                           "%6 = concat(%3, %4, axis=1) : f32[4, 8]",
                       "f32[4, 8]"),
            x + e + t +
                "%3 = concat(%1, %2, axis=0) : f32[8]\n"
                "%4 = outer(%0, %3) : f32[4, 8]\n");
  // Of different vectors: not.
  const std::string two = x + e +
                          "%2 = outer(%0, %0) : f32[4, 4]\n"
                          "%3 = outer(%0, %1) : f32[4, 4]\n"
                          "%4 = concat(%2, %3, axis=0) : f32[8, 4]\n";
  EXPECT_EQ(simplified(two, "f32[8, 4]"), two);
}

TEST(Simplify, LeavesChildrenAlone) {
  const std::string body =
      "%0 = port hs.0 : f32[4]*hs\n%1 = tanh(%0) : f32[4]*hs\n"
      "%2 = sum_children(%1) : f32[4]\n";
  EXPECT_EQ(simplified(body), body);
}

TEST(Simplify, TakesLinearTimeInSharedParts) {
  std::string body = x;
  for (int i = 1; i <= 60; ++i)
    body += fmt::format("%{0} = mul(%{1}, %{1}) : f32[4]\n%{2} = tanh(%{0}) : f32[4]\n", 2 * i,
                        i == 1 ? 0 : 2 * i - 1, 2 * i + 1);
  const std::string text =
      simplified(body + "%200 = slice(%121, axis=0, begin=1) : f32[2]", "f32[2]");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 122);
}

TEST(WithoutDropout, IsTheCellWithoutIt) {
  const Program program = parse(
      "program test state S f32[4]\n"
      "cell c(x: child S) -> S { %0 = port x.0 : f32[4] %1 = dropout(%0, rate=0.5) : f32[4]"
      " %2 = tanh(%1) : f32[4] return %2 }\n"
      "cell d(x: child S) -> S { %0 = port x.0 : f32[4] %1 = tanh(%0) : f32[4] return %1 }");
  EXPECT_TRUE(without_dropout(program.cells[0]).graph == program.cells[1].graph);
}

}  // namespace
}  // namespace espalier::ir
