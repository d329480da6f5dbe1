// What differentiation makes: which values are kept, which contributions a param gets, constant
// zeros where nothing flows.
#include "ir/passes/gradient.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "ir/op.h"
#include "ir/passes/fuse_contractions.h"
#include "ir/passes/simplify.h"
#include "ir/text/parse.h"
#include "ir/text/print.h"
#include "ir/verify.h"
#include "tests/support/cells.h"
#include "tests/support/golden.h"

namespace espalier::ir {
namespace {

using Kind = ParamContribution::Kind;

/// A program whose last cell is the one to differentiate.
Program program(std::string_view cell) {
  return parse(
      "program test\n"
      "param v [4] glorot\nparam w [4, 4] glorot\nparam tall [8, 4] glorot\n"
      "param embed [9, 4] glorot\n"
      "state S f32[4]\nstate Two f32[4] f32[4]\n" +
      std::string(cell));
}

Differentiated differentiated(const Program& program) {
  const Differentiated result = differentiate(program, simplify(program.cells.back()));
  verify(result, program);
  return result;
}

std::size_t residuals(const Program& program, const Differentiated& cell) {
  return cell.forward.outputs.size() - program.states[cell.forward.state].fields.size();
}

/// "outer w, sum v" in the order of the contributions.
std::string contributions(const Program& program, const Differentiated& cell) {
  std::string text;
  for (const ParamContribution& c : cell.backward.contributions) {
    const char* kind = c.kind == Kind::outer ? "outer" : c.kind == Kind::sum ? "sum" : "rows";
    text += (text.empty() ? "" : ", ") + std::string(kind) + " " + program.params[c.param].name;
  }
  return text;
}

const char* const tree_lstm = R"(program tree_lstm
param u [30, 12] glorot
param b [30] constant(0)
state State f32[6] f32[6]
cell node(l: child State, r: child State) -> State {
  %0 = port l.0 : f32[6]
  %1 = port r.0 : f32[6]
  %2 = concat(%0, %1, axis=0) : f32[12]
  %3 = param u : f32[30, 12]
  %4 = matmul(%3, %2) : f32[30]
  %5 = param b : f32[30]
  %6 = add(%4, %5) : f32[30]
  %7 = slice(%6, axis=0, begin=0) : f32[6]
  %8 = slice(%6, axis=0, begin=6) : f32[6]
  %9 = slice(%6, axis=0, begin=12) : f32[6]
  %10 = slice(%6, axis=0, begin=18) : f32[6]
  %11 = slice(%6, axis=0, begin=24) : f32[6]
  %12 = sigmoid(%7) : f32[6]
  %13 = tanh(%11) : f32[6]
  %14 = mul(%12, %13) : f32[6]
  %15 = sigmoid(%8) : f32[6]
  %16 = port l.1 : f32[6]
  %17 = mul(%15, %16) : f32[6]
  %18 = add(%14, %17) : f32[6]
  %19 = sigmoid(%9) : f32[6]
  %20 = port r.1 : f32[6]
  %21 = mul(%19, %20) : f32[6]
  %22 = add(%18, %21) : f32[6]
  %23 = sigmoid(%10) : f32[6]
  %24 = tanh(%22) : f32[6]
  %25 = mul(%23, %24) : f32[6]
  return %25, %22
}
)";

TEST(Gradient, TreeLstmKeepsItsFiveGates) {
  const Program program = parse(tree_lstm);
  const Differentiated cell = differentiated(program);
  ASSERT_EQ(residuals(program, cell), 5u) << print(cell, program);
  int sigmoids = 0, tanhs = 0;
  for (std::size_t i = 2; i < cell.forward.outputs.size(); ++i) {
    const std::string_view op = cell.forward.graph[cell.forward.outputs[i]].op->name;
    sigmoids += op == "sigmoid";
    tanhs += op == "tanh";
  }
  EXPECT_EQ(sigmoids, 4);
  EXPECT_EQ(tanhs, 1);
  // tanh(c) is computed again from the output c, nothing else is.
  int recomputed = 0;
  for (const Node& node : cell.backward.graph.nodes()) {
    EXPECT_NE(node.op->name, "sigmoid");
    recomputed += node.op->id == OpId::tanh;
  }
  EXPECT_EQ(recomputed, 1);
  EXPECT_EQ(contributions(program, cell), "sum b, outer u");
}

TEST(Gradient, TreeLstmIsRight) {
  const Program program = parse(tree_lstm);
  test::Random random(1);
  const auto inputs = test::random_inputs(program, program.cells[0], random);
  test::check_gradients(program, program.cells[0], inputs, random);
}

TEST(Gradient, GoldenText) {
  const Program program = parse(tree_lstm);
  test::expect_golden("tests/golden/ir/tree_lstm_node_gradient.txt",
                      print(differentiated(program), program));
}

TEST(Gradient, UnreadFieldsGetConstantZero) {
  const Program p = program(R"(cell c(x: child Two, hs: children Two) -> S {
    %0 = port x.1 : f32[4]
    %1 = port hs.0 : f32[4]*hs
    %2 = sum_children(%1) : f32[4]
    %3 = mul(%0, %2) : f32[4]
    return %3 })");
  const BackwardCell backward = differentiated(p).backward;
  ASSERT_EQ(backward.child_gradients.size(), 4u);
  for (const ChildGradient& gradient : backward.child_gradients) {
    const Node& node = backward.graph[gradient.output];
    const bool unread = gradient.port == 0 ? gradient.field == 0 : gradient.field == 1;
    EXPECT_EQ(node.op->id == OpId::constant, unread);
    EXPECT_EQ(node.type.children, gradient.port == 0 ? per_instance : 1);
    EXPECT_EQ(node.attributes.number, 0);
  }
}

TEST(Gradient, AParamUsedTwiceHasTwoContributions) {
  const Program p = program(R"(cell c(x: child S) -> S {
    %0 = port x.0 : f32[4]
    %1 = param w : f32[4, 4]
    %2 = matmul(%1, %0) : f32[4]
    %3 = tanh(%2) : f32[4]
    %4 = matmul(%1, %3) : f32[4]
    return %4 })");
  EXPECT_EQ(contributions(p, differentiated(p)), "outer w, outer w");
}

TEST(Gradient, KindsOfContributions) {
  const Program p = program(R"(cell c(i: index) -> S {
    %0 = port i : i32[]
    %1 = param embed : f32[9, 4]
    %2 = row(%1, %0) : f32[4]
    %3 = param w : f32[4, 4]
    %4 = matmul(%3, %2) : f32[4]
    %5 = param v : f32[4]
    %6 = add(%4, %5) : f32[4]
    return %6 })");
  const Differentiated cell = differentiated(p);
  EXPECT_EQ(contributions(p, cell), "sum v, outer w, rows embed");
  EXPECT_EQ(cell.backward.contributions[2].index_port, 0);
}

TEST(Gradient, ASlicedWeightHasOneOuterContribution) {
  const Program p = program(R"(cell c(x: child S) -> Two {
    %0 = param tall : f32[8, 4]
    %1 = port x.0 : f32[4]
    %2 = slice(%0, axis=0, begin=0) : f32[4, 4]
    %3 = slice(%0, axis=0, begin=4) : f32[4, 4]
    %4 = matmul(%2, %1) : f32[4]
    %5 = matmul(%3, %1) : f32[4]
    return %4, %5 })");
  EXPECT_EQ(contributions(p, differentiated(p)), "outer tall");
}

TEST(Gradient, APartlyReadWeightHasAnOuterContribution) {
  const Program p = program(R"(cell c(x: child S) -> S {
    %0 = param tall : f32[8, 4]
    %1 = port x.0 : f32[4]
    %2 = slice(%0, axis=0, begin=3) : f32[4, 4]
    %3 = matmul(%2, %1) : f32[4]
    return %3 })");
  EXPECT_EQ(contributions(p, differentiated(p)), "outer tall");
}

TEST(Gradient, SlicesThatMeetDifferentVectorsHaveAnOuterContributionEach) {
  const Program p = program(R"(cell c(x: child S, y: child S) -> S {
    %0 = param tall : f32[8, 4]
    %1 = port x.0 : f32[4]
    %2 = port y.0 : f32[4]
    %3 = slice(%0, axis=0, begin=0) : f32[4, 4]
    %4 = slice(%0, axis=0, begin=4) : f32[4, 4]
    %5 = matmul(%3, %1) : f32[4]
    %6 = matmul(%4, %2) : f32[4]
    %7 = mul(%5, %6) : f32[4]
    return %7 })");
  EXPECT_EQ(contributions(p, differentiated(p)), "outer tall, outer tall");
}

TEST(Gradient, FusedWeightsKeepTheirOwnContributions) {
  Program p = program(R"(cell c(x: child S, y: child S) -> S {
    %0 = param w : f32[4, 4]
    %1 = param tall : f32[8, 4]
    %2 = slice(%1, axis=0, begin=2) : f32[4, 4]
    %3 = port x.0 : f32[4]
    %4 = port y.0 : f32[4]
    %5 = matmul(%0, %3) : f32[4]
    %6 = matmul(%2, %4) : f32[4]
    %7 = add(%5, %6) : f32[4]
    return %7 })");
  p.cells[0] = fuse_contractions(p.cells[0]);
  const Differentiated cell = differentiated(p);
  EXPECT_EQ(contributions(p, cell), "outer tall, outer w") << print(cell, p);
}

TEST(Gradient, ATransposedWeightHasAnOuterContribution) {
  const Program p = program(R"(cell c(x: child S) -> S {
    %0 = param tall : f32[8, 4]
    %1 = transpose(%0) : f32[4, 8]
    %2 = port x.0 : f32[4]
    %3 = concat(%2, %2, axis=0) : f32[8]
    %4 = matmul(%1, %3) : f32[4]
    return %4 })");
  EXPECT_EQ(contributions(p, differentiated(p)), "outer tall");
}

TEST(Gradient, AReshapedWeightHasAnOuterContribution) {
  // A form of three axes: what is added to it has two.
  Program p = program(R"(cell c(x: child S) -> S {
    %0 = param w : f32[4, 4]
    %1 = reshape(%0) : f32[2, 8]
    %2 = port x.0 : f32[4]
    %3 = concat(%2, %2, axis=0) : f32[8]
    %4 = matmul(%1, %3) : f32[2]
    %5 = concat(%4, %4, axis=0) : f32[4]
    return %5 })");
  EXPECT_EQ(contributions(p, differentiated(p)), "outer w");
}

TEST(Gradient, AReshapedTableHasNoRowsOfItsOwn) {
  const Program p = program(R"(cell c(i: index) -> S {
    %0 = param tall : f32[8, 4]
    %1 = reshape(%0) : f32[16, 2]
    %2 = port i : i32[]
    %3 = row(%1, %2) : f32[2]
    %4 = concat(%3, %3, axis=0) : f32[4]
    return %4 })");
  EXPECT_EQ(contributions(p, differentiated(p)), "outer tall");
}

TEST(Gradient, ContributionsPerInstanceAndPerChildStayApart) {
  const Program p = program(R"(cell c(x: child S, hs: children S) -> Two {
    %0 = param w : f32[4, 4]
    %1 = transpose(%0) : f32[4, 4]
    %2 = port x.0 : f32[4]
    %3 = port hs.0 : f32[4]*hs
    %4 = matmul(%1, %2) : f32[4]
    %5 = matmul(%1, %3) : f32[4]*hs
    %6 = sum_children(%5) : f32[4]
    return %4, %6 })");
  const Differentiated cell = differentiated(p);
  EXPECT_EQ(contributions(p, cell), "outer w, outer w");
  const auto& c = cell.backward.contributions;
  EXPECT_EQ(cell.backward.graph[c[0].left].type.children, per_instance);
  EXPECT_EQ(cell.backward.graph[c[1].left].type.children, 1);
  EXPECT_EQ(cell.backward.graph[c[1].right].type.children, 1);
}

TEST(Gradient, WhatCanBeHadFromAResidualIsNotKept) {
  // The gradient needs x and, in the sigmoid, x²; only x is kept.
  const Program p = program(R"(cell c(y: child S) -> S {
    %0 = param w : f32[4, 4]
    %1 = port y.0 : f32[4]
    %2 = matmul(%0, %1) : f32[4]
    %3 = gelu(%2) : f32[4]
    return %3 })");
  const Differentiated cell = differentiated(p);
  EXPECT_EQ(residuals(p, cell), 1u) << print(cell, p);
}

TEST(Gradient, WhatWasNoResidualBeforeIsAskedAgain) {
  // tanh(eᵐ) is asked for before m is kept, eᵐ after it.
  const Program p = program(R"(cell c(a: child S, x: child S) -> Two {
    %0 = port a.0 : f32[4]
    %1 = port x.0 : f32[4]
    %2 = param w : f32[4, 4]
    %3 = matmul(%2, %1) : f32[4]
    %4 = exp(%3) : f32[4]
    %5 = tanh(%4) : f32[4]
    %6 = mul(%3, %0) : f32[4]
    %7 = mul(%5, %0) : f32[4]
    return %6, %7 })");
  const Differentiated cell = differentiated(p);
  ASSERT_EQ(residuals(p, cell), 2u) << print(cell, p);
  EXPECT_EQ(cell.forward.graph[cell.forward.outputs[2]].op->name, "tanh");
  EXPECT_EQ(cell.forward.graph[cell.forward.outputs[3]].op->name, "matmul");
}

TEST(Gradient, AMovementOfAContractionIsLookedThrough) {
  const Program p = program(R"(cell c(x: child S) -> Two {
    %0 = param tall : f32[8, 4]
    %1 = port x.0 : f32[4]
    %2 = matmul(%0, %1) : f32[8]
    %3 = reshape(%2) : f32[2, 4]
    %4 = transpose(%3) : f32[4, 2]
    %5 = reshape(%4) : f32[8]
    %6 = slice(%5, axis=0, begin=0) : f32[4]
    %7 = mul(%6, %6) : f32[4]
    return %7, %1 })");
  const Differentiated cell = differentiated(p);
  ASSERT_EQ(residuals(p, cell), 1u) << print(cell, p);
  EXPECT_EQ(cell.forward.graph[cell.forward.outputs[2]].op->name, "matmul");
}

TEST(Gradient, TakesLinearTimeInSharedParts) {
  // Every value is read twice by the next: without memory of what is known, 2⁶⁰ visits.
  std::string text = "cell c(x: child S) -> S {\n%0 = port x.0 : f32[4]\n";
  for (int i = 1; i <= 60; ++i)
    text += fmt::format("%{0} = mul(%{1}, %{1}) : f32[4]\n%{2} = tanh(%{0}) : f32[4]\n", 2 * i,
                        i == 1 ? 0 : 2 * i - 1, 2 * i + 1);
  const Program p = program(text + "return %121 }");
  EXPECT_EQ(residuals(p, differentiated(p)), 0u);
}

}  // namespace
}  // namespace espalier::ir
