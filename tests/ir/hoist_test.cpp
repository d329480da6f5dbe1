// Which cells are split by hoisting, what the halves are, and that together they compute the same.
#include "ir/passes/hoist.h"

#include <gtest/gtest.h>

#include "ir/op.h"
#include "ir/text/parse.h"
#include "ir/text/print.h"
#include "ir/verify.h"
#include "tests/support/cells.h"
#include "tests/support/random_programs.h"

namespace espalier::ir {
namespace {

constexpr const char* head =
    "program test param e [3, 4] glorot param w [6, 4] glorot param u [6, 3] glorot\n"
    "param b [3] glorot state S f32[3] state X f32[4] state G f32[6]\n";

/// A recurrent cell of one Index port and one Child port.
Program with_step(const std::string& body) {
  return parse(std::string(head) +
               "cell step(word: index, before: child S) -> S {\n"
               "%0 = port word : i32[] %1 = param e : f32[3, 4] %2 = row(%1, %0) : f32[4]\n"
               "%3 = param w : f32[6, 4] %4 = matmul(%3, %2) : f32[6]\n"
               "%5 = port before.0 : f32[3] %6 = param u : f32[6, 3]\n" +
               body + "}");
}

constexpr const char* lstm_gates =
    "%7 = matmul(%6, %5) : f32[6] %8 = add(%4, %7) : f32[6]\n"
    "%9 = slice(%8, axis=0, begin=0) : f32[3] %10 = slice(%8, axis=0, begin=3) : f32[3]\n"
    "%11 = tanh(%10) : f32[3] %12 = mul(%9, %11) : f32[3] return %12";

/// Checks the hoisted program and that it reads back.
Hoisting hoisted(const Program& program) {
  verify(program);
  Hoisting result(program);
  verify(result.program());
  EXPECT_TRUE(parse(print(result.program())) == result.program());
  return result;
}

int count(const Cell& cell, std::string_view op) {
  int result = 0;
  for (const Node& node : cell.graph.nodes()) result += node.op->name == op;
  return result;
}

/// A call of cell `id` computes the same split and whole.
void expect_same(const Program& program, const Hoisting& hoisting, CellId id, int children = 2) {
  const Cell& cell = program.cells[id];
  const HoistedCell& spelled = hoisting.cells()[id];
  const Cell& rest = hoisting.program().cells[spelled.cell];
  SCOPED_TRACE(print(hoisting.program()));
  test::Random random(7);
  const test::CellInputs inputs = test::random_inputs(program, cell, random, 3, children);
  // Ports by the order of the call's operands, and of its indices.
  std::vector<int> operands, indices;
  for (int p = 0; p < int(cell.ports.size()); ++p) {
    if (cell.ports[p].kind != PortKind::index) operands.push_back(p);
    if (cell.ports[p].kind != PortKind::child) indices.push_back(p);
  }
  const auto give = [&](test::CellInputs& to, int port, int from) {
    to.children[port] = inputs.children[from];
    for (const auto& [key, value] : inputs.ports)
      if (key.first == from) to.ports[{port, key.second}] = value;
  };
  const auto inputs_of = [&](const Cell& half, const std::vector<int>& read) {
    test::CellInputs to{std::vector<int>(half.ports.size()), {}, inputs.params};
    std::size_t operand = 0, index = 0;
    for (int p = 0; p < int(half.ports.size()); ++p) {
      if (half.ports[p].kind == PortKind::index)
        give(to, p, indices[read[index]]);
      else if (half.ports[p].name != "hoisted")
        give(to, p, operands[operand++]);
      if (half.ports[p].kind != PortKind::child) ++index;
    }
    EXPECT_EQ(index, read.size());
    return to;
  };
  if (spelled.hoisted < 0) {
    EXPECT_EQ(rest.ports.size(), cell.ports.size());
    EXPECT_EQ(test::outputs(rest, inputs), test::outputs(cell, inputs));
    return;
  }
  test::CellInputs given = inputs_of(rest, spelled.indices);
  const Cell& first = hoisting.program().cells[spelled.hoisted];
  const auto values = test::outputs(first, inputs_of(first, spelled.hoisted_indices));
  const int last = int(rest.ports.size()) - 1;
  for (int field = 0; field < int(values.size()); ++field)
    given.ports[{last, field}] = values[field];
  EXPECT_EQ(test::outputs(rest, given), test::outputs(cell, inputs));
}

TEST(Hoisting, TheInputProjectionOfAnLstm) {
  const Program program = with_step(lstm_gates);
  const Hoisting hoisting = hoisted(program);
  const HoistedCell& spelled = hoisting.cells()[0];
  EXPECT_EQ(spelled.hoisted_indices, std::vector{0});
  EXPECT_TRUE(spelled.indices.empty());
  EXPECT_EQ(print(hoisting.program().cells[spelled.hoisted], hoisting.program()),
            "cell \"step.hoisted\"(word: index) -> \"step.hoisted\" {\n"
            "  %0 = port word : i32[]\n"
            "  %1 = param e : f32[3, 4]\n"
            "  %2 = row(%1, %0) : f32[4]\n"
            "  %3 = param w : f32[6, 4]\n"
            "  %4 = matmul(%3, %2) : f32[6]\n"
            "  return %4\n"
            "}\n");
  EXPECT_EQ(print(hoisting.program().cells[spelled.cell], hoisting.program()),
            "cell step(before: child S, hoisted: child \"step.hoisted\") -> S {\n"
            "  %0 = port hoisted.0 : f32[6]\n"
            "  %1 = port before.0 : f32[3]\n"
            "  %2 = param u : f32[6, 3]\n"
            "  %3 = matmul(%2, %1) : f32[6]\n"
            "  %4 = add(%0, %3) : f32[6]\n"
            "  %5 = slice(%4, axis=0, begin=0) : f32[3]\n"
            "  %6 = slice(%4, axis=0, begin=3) : f32[3]\n"
            "  %7 = tanh(%6) : f32[3]\n"
            "  %8 = mul(%5, %7) : f32[3]\n"
            "  return %8\n"
            "}\n");
  expect_same(program, hoisting, 0);
}

TEST(Hoisting, GatesAreHandedOnTogether) {
  // Sliced before they meet the recurrent part: one field all the same.
  const Program program = with_step(
      "%7 = matmul(%6, %5) : f32[6] %8 = slice(%4, axis=0, begin=0) : f32[3]\n"
      "%9 = slice(%4, axis=0, begin=3) : f32[3] %10 = slice(%7, axis=0, begin=0) : f32[3]\n"
      "%11 = slice(%7, axis=0, begin=3) : f32[3] %12 = add(%8, %10) : f32[3]\n"
      "%13 = add(%9, %11) : f32[3] %14 = mul(%12, %13) : f32[3] return %14");
  const Hoisting hoisting = hoisted(program);
  EXPECT_EQ(hoisting.program().states.back().fields.size(), 1u);
  EXPECT_EQ(count(hoisting.program().cells[hoisting.cells()[0].cell], "slice"), 4);
  expect_same(program, hoisting, 0);
}

TEST(Hoisting, WhatIsNoProductStays) {
  // The word's vector is an address, its tanh is cheap: both are read from the word again.
  const Program program = with_step(
      "%7 = slice(%2, axis=0, begin=0) : f32[3] %8 = tanh(%7) : f32[3]\n"
      "%9 = mul(%5, %8) : f32[3] return %9");
  const Hoisting hoisting = hoisted(program);
  EXPECT_EQ(hoisting.cells()[0].hoisted, -1);
  EXPECT_TRUE(hoisting.program() == program);
  expect_same(program, hoisting, 0);
}

TEST(Hoisting, TheWordStaysWhereItIsReadOtherwiseToo) {
  const Program program = with_step(
      "%7 = slice(%2, axis=0, begin=0) : f32[3] %8 = slice(%4, axis=0, begin=0) : f32[3]\n"
      "%9 = tanh(%8) : f32[3] %10 = mul(%5, %7) : f32[3] %11 = mul(%10, %9) : f32[3]\n"
      "%12 = dropout_mask(mask=0, rate=0.5) : f32[3] %13 = mul(%11, %12) : f32[3]\n"
      "%14 = add(%13, %8) : f32[3] return %14");
  const Hoisting hoisting = hoisted(program);
  const HoistedCell& spelled = hoisting.cells()[0];
  EXPECT_EQ(spelled.indices, std::vector{0});
  // Both the tanh and the product itself are read.
  EXPECT_EQ(hoisting.program().states.back().fields.size(), 2u);
  EXPECT_EQ(count(hoisting.program().cells[spelled.cell], "dropout_mask"), 1);
  EXPECT_EQ(count(hoisting.program().cells[spelled.cell], "tanh"), 0);
  expect_same(program, hoisting, 0);
}

TEST(Hoisting, MasksAndWhatTheyTouchStay) {
  const Program program = with_step(
      "%7 = dropout_mask(mask=0, rate=0.5) : f32[6] %8 = mul(%4, %7) : f32[6]\n"
      "%9 = slice(%8, axis=0, begin=0) : f32[3] %10 = add(%9, %5) : f32[3] return %10");
  const Hoisting hoisting = hoisted(program);
  ASSERT_GE(hoisting.cells()[0].hoisted, 0);
  EXPECT_EQ(count(hoisting.program().cells[hoisting.cells()[0].hoisted], "dropout_mask"), 0);
  expect_same(program, hoisting, 0);
}

TEST(Hoisting, ACellOutsideEveryRecurrenceStaysWhole) {
  // `leaf` reads no state, `top` one that never comes back to it: each is one batch already.
  const Program program = parse(std::string(head) +
                                "cell leaf(word: index) -> G {\n"
                                "%0 = port word : i32[] %1 = param e : f32[3, 4]\n"
                                "%2 = row(%1, %0) : f32[4] %3 = param w : f32[6, 4]\n"
                                "%4 = matmul(%3, %2) : f32[6] return %4 }\n"
                                "cell top(word: index, below: child G) -> S {\n"
                                "%0 = port word : i32[] %1 = param e : f32[3, 4]\n"
                                "%2 = row(%1, %0) : f32[4] %3 = param w : f32[6, 4]\n"
                                "%4 = matmul(%3, %2) : f32[6] %5 = port below.0 : f32[6]\n"
                                "%6 = add(%4, %5) : f32[6] %7 = slice(%6, axis=0, begin=0) : "
                                "f32[3] return %7 }");
  EXPECT_TRUE(hoisted(program).program() == program);
}

TEST(Hoisting, ARecurrenceMayGoThroughOtherCells) {
  const Program program = parse(std::string(head) +
                                "cell there(word: index, s: child S) -> G {\n"
                                "%0 = port word : i32[] %1 = param e : f32[3, 4]\n"
                                "%2 = row(%1, %0) : f32[4] %3 = param w : f32[6, 4]\n"
                                "%4 = matmul(%3, %2) : f32[6] %5 = param u : f32[6, 3]\n"
                                "%6 = port s.0 : f32[3] %7 = matmul(%5, %6) : f32[6]\n"
                                "%8 = add(%4, %7) : f32[6] return %8 }\n"
                                "cell back(g: child G) -> S { %0 = port g.0 : f32[6]\n"
                                "%1 = slice(%0, axis=0, begin=0) : f32[3] return %1 }");
  const Hoisting hoisting = hoisted(program);
  EXPECT_GE(hoisting.cells()[0].hoisted, 0);
  EXPECT_EQ(hoisting.cells()[1].hoisted, -1);
  expect_same(program, hoisting, 0);
  expect_same(program, hoisting, 1);
}

TEST(Hoisting, PortsAreNumberedAnew) {
  // Behind two Index ports that the rest reads no more lies a Children port.
  const Program program =
      parse(std::string(head) +
            "cell node(a: index, hs: children S, b: index, ks: children S) -> S {\n"
            "%0 = port a : i32[] %1 = param e : f32[3, 4] %2 = row(%1, %0) : f32[4]\n"
            "%3 = param w : f32[6, 4] %4 = matmul(%3, %2) : f32[6]\n"
            "%5 = port b : i32[] %6 = row(%1, %5) : f32[4] %7 = matmul(%3, %6) : f32[6]\n"
            "%8 = slice(%4, axis=0, begin=0) : f32[3] %9 = slice(%7, axis=0, begin=1) : f32[3]\n"
            "%10 = port hs.0 : f32[3]*hs %11 = port ks.0 : f32[3]*ks\n"
            "%12 = per_child(%8, port=hs) : f32[3]*hs %13 = mul(%12, %10) : f32[3]*hs\n"
            "%14 = per_child(%9, port=ks) : f32[3]*ks %15 = mul(%14, %11) : f32[3]*ks\n"
            "%16 = sum_children(%13) : f32[3] %17 = sum_children(%15) : f32[3]\n"
            "%18 = add(%16, %17) : f32[3] return %18 }");
  const Hoisting hoisting = hoisted(program);
  EXPECT_EQ(hoisting.cells()[0].hoisted_indices, (std::vector{0, 2}));
  EXPECT_EQ(hoisting.cells()[0].indices, (std::vector{1, 3}));
  for (int children : {0, 1, 3}) expect_same(program, hoisting, 0, children);
}

TEST(Hoisting, RandomPrograms) {
  int split = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const Program program = test::random_program(seed, {.ops = 25});
    const Hoisting hoisting = hoisted(program);
    ASSERT_EQ(hoisting.cells().size(), program.cells.size());
    for (CellId id = 0; id < CellId(program.cells.size()); ++id) {
      split += hoisting.cells()[id].hoisted >= 0;
      expect_same(program, hoisting, id, int(seed % 3));
    }
    // What is left is split no further.
    EXPECT_TRUE(Hoisting(hoisting.program()).program() == hoisting.program());
    if (HasFailure()) return;
  }
  EXPECT_GE(split, 10);
}

TEST(Hoisting, CellsAndStatesMayFollow) {
  Program program = with_step(lstm_gates);
  Hoisting hoisting(program);
  program.states.push_back({"Late", {{DType::f32, {3}, per_instance}}});
  Cell late = program.cells[0];
  late.name = "late";
  late.state = StateId(program.states.size()) - 1;
  program.cells.push_back(late);
  hoisting.add(program, program.cells.back());
  verify(hoisting.program());
  EXPECT_EQ(hoisting.cells()[1].hoisted, -1);
  const Cell& copy = hoisting.program().cells[hoisting.cells()[1].cell];
  EXPECT_EQ(hoisting.program().states[copy.state].name, "Late");
  expect_same(program, hoisting, 1);
}

}  // namespace
}  // namespace espalier::ir
