// Program texts written by hand: what is read, and where and how the rest is refused.
#include "ir/text/parse.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "ir/op.h"
#include "ir/text/print.h"
#include "tests/support/refusal.h"

namespace espalier::ir {
namespace {

std::string refused(std::string_view text) {
  return test::refusal([&] { parse(text, "m.ir"); });
}

/// The refusal of a body whose lines begin in line 5.
std::string refused_body(const std::string& body) {
  return refused(
      "program p param w [10, 300] glorot\nstate S f32[4]\n"
      "state Two f32[4] f32[3]\n"
      "cell node(x: child S, i: index, hs: children S) -> S {\n" +
      body + "}");
}

TEST(Parse, ReadsHoweverSpacedAndCommented) {
  const Program tidy = parse(
      "program p\nparam w [2, 2] uniform(0.5)\nstate S f32[2]\n"
      "cell c(x: child S) -> S {\n  %0 = param w : f32[2, 2]\n  %1 = port x.0 : f32[2]\n"
      "  %2 = matmul(%0, %1) : f32[2]\n  return %2\n}\n");
  const Program untidy = parse(
      "# a model\r\nprogram \"p\" param w[2,2]uniform ( 5e-1 )state S f32 [ 2 ] # fields\n\n"
      "\tcell c(x:child S)->S{%7=param w:f32[2,2]%3=port x . 0:f32[2]\n%12=matmul(%7,%3):f32[2]"
      "return %12}#end");
  EXPECT_TRUE(tidy == untidy) << print(untidy);
}

TEST(Parse, ReadsWithoutParamsStatesOrCells) {
  EXPECT_EQ(parse("program p").name, "p");
  EXPECT_EQ(parse("program p state S f32[]").states[0].fields[0].shape, Shape{});
}

TEST(Parse, ExpandsCompositesAndBroadcasts) {
  const Program program = parse(
      "program p state S f32[2] cell c(x: child S) -> S { %0 = port x.0 : f32[2]"
      " %1 = softmax(%0) : f32[2] %2 = constant(value=2) : f32[] %3 = mul(%1, %2) : f32[2]"
      " return %3 }");
  for (const Node& node : program.cells[0].graph.nodes())
    EXPECT_NE(node.op->kind, OpClass::composite);
}

TEST(Parse, DropsWhatNoOutputNeeds) {
  const Program program = parse(
      "program p state S f32[2] cell c(x: child S) -> S { %0 = port x.0 : f32[2]"
      " %1 = exp(%0) : f32[2] return %0 }");
  EXPECT_EQ(program.cells[0].graph.size(), 1);
}

TEST(ParseErrors, SayWhatWasFoundAndExpected) {
  EXPECT_EQ(refused(""), "m.ir:1:1: found the end of the text, expected 'program'");
  EXPECT_EQ(refused("modul x"), "m.ir:1:1: found 'modul', expected 'program'");
  EXPECT_EQ(refused("program"), "m.ir:1:8: found the end of the text, expected a name");
  EXPECT_EQ(refused("program p\nparm"),
            "m.ir:2:1: found 'parm', expected 'param', 'state' or 'cell'");
  EXPECT_EQ(refused("program p\nparam w 3"), "m.ir:2:9: found '3', expected '['");
  EXPECT_EQ(refused("program p param w [3 4]"), "m.ir:1:22: found '4', expected ','");
  EXPECT_EQ(refused("program p param w [x]"), "m.ir:1:20: found 'x', expected an extent");
  EXPECT_EQ(refused("program p param w [3] gloro"),
            "m.ir:1:23: found 'gloro', expected 'glorot', 'uniform' or 'constant'");
  EXPECT_EQ(refused("program p param w [3] uniform(x)"), "m.ir:1:31: found 'x', expected a number");
  EXPECT_EQ(refused("program p state S f64[3]"), "m.ir:1:19: found 'f64', expected 'f32' or 'i32'");
  EXPECT_EQ(refused("program p state S i32[]"),
            "m.ir:1:19: found 'i32', expected 'f32': states hold numbers");
  EXPECT_EQ(refused("program p\n  é"), "m.ir:2:3: found 'é', expected 'param', 'state' or 'cell'");
}

TEST(ParseErrors, OfNames) {
  EXPECT_EQ(refused("program \"x"), "m.ir:1:11: found the end of the line, expected '\"'");
  EXPECT_EQ(refused("program \"x\ny\""), "m.ir:1:11: found the end of the line, expected '\"'");
  EXPECT_EQ(refused("program \"x\\y\""), "m.ir:1:11: found a '\\', expected \\\", \\\\ or \\xNN");
  EXPECT_EQ(refused("program \"x\\x4\""), "m.ir:1:11: found a '\\', expected \\\", \\\\ or \\xNN");
  EXPECT_EQ(refused("program p param w [1] glorot param w [2] glorot"),
            "m.ir:1:36: found 'w' again, expected a new name");
  EXPECT_EQ(refused("program p state S f32[] state S f32[]"),
            "m.ir:1:31: found 'S' again, expected a new name");
  EXPECT_EQ(refused("program p state S f32[] cell c(x: index, x: index)"),
            "m.ir:1:42: found 'x' again, expected a new name");
  EXPECT_EQ(refused("program p state Stat f32[] cell c(x: child State)"),
            "m.ir:1:44: found 'State', expected the name of a state; the nearest is 'Stat'");
  EXPECT_EQ(refused("program p cell c() -> State"),
            "m.ir:1:23: found 'State', expected the name of a state");
  EXPECT_EQ(refused("program p cell c(x: chlid)"),
            "m.ir:1:21: found 'chlid', expected 'index', 'child' or 'children'");
}

TEST(ParseErrors, OfShapes) {
  EXPECT_EQ(refused("program p param w [3, 0] glorot"),
            "m.ir:1:19: an extent must lie in 1 … 2147483647, found 0");
  EXPECT_EQ(refused("program p param w [-3] glorot"),
            "m.ir:1:19: an extent must lie in 1 … 2147483647, found -3");
  EXPECT_EQ(refused("program p param w [99999999999999999999] glorot"),
            "m.ir:1:20: found '99999999999999999999', expected an extent");
  EXPECT_EQ(refused("program p param w [2000000000, 2000000000] glorot"),
            "m.ir:1:19: a shape of more than 2^40 elements: [2000000000, 2000000000]");
  EXPECT_EQ(refused("program p param w [1, 1, 1, 1, 1] glorot"),
            "m.ir:1:19: a shape has at most 4 axes, found 5");
  EXPECT_EQ(refused("program p param w [1.5] glorot"),
            "m.ir:1:20: found '1.5', expected an extent");
}

TEST(ParseErrors, OfValues) {
  EXPECT_EQ(refused_body("x"), "m.ir:5:1: found 'x', expected a value (%0, %1, …) or 'return'");
  EXPECT_EQ(refused_body("%0 = port x.0 : f32[4]\n%0 = exp(%0) : f32[4]"),
            "m.ir:6:1: found %0 again, expected a new value");
  EXPECT_EQ(refused_body("%0 = exp(%1) : f32[4]"),
            "m.ir:5:10: found %1, expected a value given before");
  EXPECT_EQ(refused_body("%0 = port x.0 : f32[4]\n%1 = sigmod(%0) : f32[4]"),
            "m.ir:6:6: found 'sigmod', expected an op; the nearest is 'sigmoid'");
  EXPECT_EQ(refused_body("%0 = cotangent(field=0) : f32[4]").substr(0, 50),
            "m.ir:5:6: found 'cotangent', expected an op; the n");
  EXPECT_EQ(refused_body("%0 = port x.0 f32[4]"), "m.ir:5:15: found 'f32', expected ':'");
  EXPECT_EQ(refused_body("%0 = port x.0 : f32[4]\nreturn %0, "),
            "m.ir:6:12: found '}', expected a value (%0, %1, …)");
}

TEST(ParseErrors, OfLeaves) {
  EXPECT_EQ(refused_body("%0 = param v : f32[4]"),
            "m.ir:5:12: found 'v', expected the name of a param; the nearest is 'w'");
  EXPECT_EQ(refused_body("%0 = param w : f32[4]"),
            "m.ir:5:16: found type f32[4], expected f32[10, 300]");
  EXPECT_EQ(refused_body("%0 = port y.0 : f32[4]"),
            "m.ir:5:11: found 'y', expected the name of a port; the nearest is 'x'");
  EXPECT_EQ(refused_body("%0 = port x : f32[4]"), "m.ir:5:13: found ':', expected '.'");
  EXPECT_EQ(refused_body("%0 = port x.1 : f32[4]"),
            "m.ir:5:13: found field 1, expected 0 to 0: state 'S'");
  EXPECT_EQ(refused_body("%0 = port i : f32[]"), "m.ir:5:15: found type f32[], expected i32[]");
  EXPECT_EQ(refused_body("%0 = port hs.0 : f32[4]"),
            "m.ir:5:18: found type f32[4], expected f32[4]*2");
  EXPECT_EQ(refused_body("%0 = port hs.0 : f32[4]*x"),
            "m.ir:5:25: found 'x', expected a Children port");
  EXPECT_EQ(refused_body("%0 = constant(value=1) : i32[]"),
            "m.ir:5:26: found type i32[], expected f32[]");
  EXPECT_EQ(refused_body("%0 = iota() : f32[4]"), "m.ir:5:15: found type f32[4], expected i32[4]");
  EXPECT_EQ(refused_body("%0 = iota() : i32[2, 2]"),
            "m.ir:5:15: found type i32[2, 2], expected i32[4]");
  EXPECT_EQ(refused_body("%0 = dropout_mask(mask=0, rate=1) : f32[4]"),
            "m.ir:5:6: found rate 1, expected 0 ≤ rate < 1");
}

TEST(ParseErrors, OfAttributes) {
  const std::string x = "%0 = port x.0 : f32[4]\n";
  EXPECT_EQ(refused_body(x + "%1 = sum(%0) : f32[]"), "m.ir:6:12: found ')', expected 'axis='");
  EXPECT_EQ(refused_body(x + "%1 = sum(%0, axs=0) : f32[]"),
            "m.ir:6:14: found 'axs', expected 'axis'");
  EXPECT_EQ(refused_body(x + "%1 = sum(%0, axis=0, axis=1) : f32[]"),
            "m.ir:6:22: found 'axis', expected a value or ')'");
  EXPECT_EQ(refused_body(x + "%1 = sum(%0, axis=1.5) : f32[]"),
            "m.ir:6:19: found '1.5', expected an integer");
  EXPECT_EQ(refused_body(x + "%1 = sum(%0, axis=4294967296) : f32[]"),
            "m.ir:6:19: found 4294967296, expected an integer of 32 bits");
  EXPECT_EQ(refused_body("%0 = constant(value=one) : f32[]"),
            "m.ir:5:21: found 'one', expected a number");
  EXPECT_EQ(refused_body("%0 = constant(value=\"inf\") : f32[]"),
            "m.ir:5:21: found '\"inf\"', expected a number");
  EXPECT_EQ(refused_body("%0 = constant(value=1e999) : f32[]"),
            "m.ir:5:21: found '1e999', expected a number");
  EXPECT_EQ(refused_body(x + "%1 = per_child(%0, port=x) : f32[4]*hs"),
            "m.ir:6:25: found 'x', expected a Children port");
}

TEST(ParseErrors, OfShapeRules) {
  EXPECT_EQ(refused_body("%0 = param w : f32[10, 300]\n%1 = port x.0 : f32[4]\n"
                         "  %2 = matmul(%0, %1) : f32[10]"),
            "m.ir:7:8: matmul: inner dimensions differ: param 'w' is [10, 300], port 'x' is [4] "
            "(in cell 'node')");
  EXPECT_EQ(refused_body("%0 = port x.0 : f32[4]\n%1 = exp(%0) : f32[5]"),
            "m.ir:6:16: found type f32[5], expected f32[4]");
  EXPECT_EQ(refused_body("%0 = port x.0 : f32[4]\n%1 = exp(%0) : f32[4]*hs"),
            "m.ir:6:16: found type f32[4]*2, expected f32[4]");
  EXPECT_EQ(refused_body("%0 = port x.0 : f32[4]\n%1 = slice(%0, axis=0, begin=2) : f32[3]"),
            "m.ir:6:6: slice: elements 2 to 4 of axis 0 do not exist: port 'x' is [4] "
            "(in cell 'node')");
  EXPECT_EQ(refused_body("%0 = port x.0 : f32[4]\n%1 = add(%0) : f32[4]"),
            "m.ir:6:6: add: expected 2 operands, found 1 (in cell 'node')");
}

TEST(ParseErrors, OfInputs) {
  const std::string states = "program p state T f32[4] f32[3]\n";
  const Program program = parse(states +
                                "cell c() -> T { %0 = input(field=0) : f32[4] "
                                "%1 = input(field=1) : f32[3] return %0, %1 }");
  EXPECT_EQ(parse(print(program)), program);
  const std::string expected =
      "m.ir:2:6: found inputs in cell 'c' beside other things, expected no ports and its inputs as "
      "outputs, in their order";
  EXPECT_EQ(refused(states + "cell c(i: index) -> T { %0 = input(field=0) : f32[4] "
                             "%1 = input(field=1) : f32[3] return %0, %1 }"),
            expected);
  EXPECT_EQ(refused(states + "cell c() -> T { %0 = input(field=1) : f32[4] "
                             "%1 = input(field=0) : f32[3] return %0, %1 }"),
            expected);
  EXPECT_EQ(refused(states + "cell c() -> T { %0 = input(field=0) : f32[4] "
                             "%1 = constant(value=0) : f32[3] return %0, %1 }"),
            expected);
}

/// A row is chosen by a port whose values the recorder checks, and by nothing else.
TEST(ParseErrors, OfIndices) {
  const std::string i = "%0 = port i : i32[]\n%1 = param w : f32[10, 300]\n";
  EXPECT_EQ(refused_body(i + "%2 = iota() : i32[9]\n%3 = row(%2, %0) : i32[]\n"
                             "%4 = row(%1, %3) : f32[300]"),
            "m.ir:9:6: row: expected an Index port, or a reshape of one: operand is [] "
            "(in cell 'node')");
  EXPECT_EQ(refused_body(i + "%2 = reshape(%0) : i32[1]\n%3 = concat(%2, %2, axis=0) : i32[2]\n"
                             "%4 = slice(%3, axis=0, begin=1) : i32[1]\n"
                             "%5 = reshape(%4) : i32[]\n%6 = row(%1, %5) : f32[300]"),
            "m.ir:11:6: row: expected an Index port, or a reshape of one: operand is [] "
            "(in cell 'node')");
  EXPECT_EQ(refused_body(i + "%2 = reshape(%0) : i32[1]\n%3 = reshape(%2) : i32[]\n"
                             "%4 = row(%1, %3) : f32[300] return %4"),
            "m.ir:9:36: found %4 of type f32[300], expected f32[4], field 0 of state 'S'");
  EXPECT_EQ(refused_body(i + "%2 = reshape(%0) : i32[1]\n%3 = constant(value=1) : f32[1]\n"
                             "%4 = concat(%2, %3, axis=0) : i32[2]"),
            "m.ir:9:6: concat: found numbers and indices, expected one kind: operand 1 is [1], "
            "operand 2 is [1] (in cell 'node')");
  EXPECT_EQ(refused_body(i + "%2 = constant(value=1) : f32[]\n%3 = equal(%0, %2) : f32[]"),
            "m.ir:8:6: equal: found an index and a number, expected two of a kind: port 'i' is [], "
            "operand is [] (in cell 'node')");
}

TEST(ParseErrors, OfOutputs) {
  EXPECT_EQ(refused_body("%0 = port x.0 : f32[4] return %0, %0"),
            "m.ir:5:31: found 2 outputs, expected 1, one per field of state 'S'");
  EXPECT_EQ(refused_body("%0 = port hs.0 : f32[4]*hs return %0"),
            "m.ir:5:35: found %0 of type f32[4]*2, expected f32[4], field 0 of state 'S'");
  EXPECT_EQ(refused("program p state T f32[4] f32[3] cell c(x: child T) -> T {\n"
                    "%0 = port x.0 : f32[4] return %0 }"),
            "m.ir:2:31: found 1 outputs, expected 2, one per field of state 'T'");
}

TEST(Parse, AChainOfAnyLengthIsRead) {
  std::string text = "program p state S f32[2] cell c(x: child S) -> S { %0 = port x.0 : f32[2]\n";
  constexpr int ops = 100'000;
  for (int i = 1; i <= ops; ++i) text += fmt::format("%{} = tanh(%{}) : f32[2]\n", i, i - 1);
  EXPECT_EQ(parse(text + fmt::format("return %{} }}", ops)).cells[0].graph.size(), ops + 1u);
  // Nothing in a text nests, however often it opens.
  for (const char* opened : {"[", "(", "{", "%0 = tanh(", "*"})
    for (const std::string before : {"program p state S f32", "program p cell c", text.c_str()}) {
      std::string many = before;
      for (int i = 0; i < 100'000; ++i) many += opened;
      EXPECT_LT(refused(many).size(), 200u) << opened;
    }
}

TEST(ParseErrors, AreShortHoweverLongTheText) {
  const std::string name(200'000, 'x'), other = name + "y";
  for (const std::string& text :
       {name, "program p " + name, "program p state " + name + " f32[2] state " + name,
        "program p cell c(x: child " + name + ")", "program p param w [" + name + "]",
        "program p state " + name + " f32[2] cell c(x: child " + other + ")",
        "program p state S f32[2] cell " + name +
            "(x: child S, y: index) -> S { %0 = port x.0 : f32[2] %1 = port y : i32[] %2 = "
            "matmul(%0, %1) : f32[2]",
        "program p state S f32[2] cell c(x: child S) -> S { return %" + std::string(200'000, '1'),
        "program p state S f32[2] cell c(x: child S) -> S { %0 = " + name})
    EXPECT_LT(refused(text).size(), 500u) << refused(text).substr(0, 500);
  EXPECT_EQ(refused("program \"a\tb\" \"c\x1b[2Jd\""),
            "m.ir:1:15: found '\"c\\x1B[2Jd\"', expected 'param', 'state' or 'cell'");
}

TEST(ParseErrors, EveryBeginningOfAProgramIsRefusedOrRead) {
  const std::string text =
      print(parse("program p param w [2, 2] uniform(0.5) state S f32[2]\n"
                  "cell c(x: child S, \"h s\": children S) -> S { %0 = port x.0 : f32[2]\n"
                  "%1 = port \"h s\".0 : f32[2]*\"h s\" %2 = max_children(%1) : f32[2]\n"
                  "%3 = add(%0, %2) : f32[2] %4 = constant(value=-0.5) : f32[2]\n"
                  "%5 = mul(%3, %4) : f32[2] return %5 }"));
  for (std::size_t length = 0; length < text.size(); ++length)
    for (const char* end : {"", "]", "\"", "%", "1"}) {
      const std::string cut = text.substr(0, length) + end;
      try {
        parse(cut, "m.ir");
      } catch (const UserError& error) {
        EXPECT_TRUE(std::string_view(error.what()).starts_with("m.ir:")) << error.what();
      }
    }
}

}  // namespace
}  // namespace espalier::ir
