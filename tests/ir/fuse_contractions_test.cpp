#include "ir/passes/fuse_contractions.h"

#include <gtest/gtest.h>

#include "ir/op.h"
#include "ir/text/parse.h"
#include "ir/text/print.h"
#include "ir/verify.h"
#include "tests/support/cells.h"

namespace espalier::ir {
namespace {

Program program(const std::string& body) {
  return parse(
      "program test param w [6, 4] glorot param u [6, 4] glorot param b [6] glorot\n"
      "param m [6, 3] glorot state S f32[4] state R f32[6]\n"
      "cell c(x: child S, y: child S, hs: children S) -> R {\n"
      "%0 = param w : f32[6, 4] %1 = param u : f32[6, 4] %2 = param b : f32[6]\n"
      "%3 = port x.0 : f32[4] %4 = port y.0 : f32[4] %5 = port hs.0 : f32[4]*hs\n" +
      body + "}");
}

int count(const Cell& cell, std::string_view op) {
  int result = 0;
  for (const Node& node : cell.graph.nodes()) result += node.op->name == op;
  return result;
}

/// The fused cell, after checking that it computes the same.
Cell fused(const Program& program) {
  const Cell& cell = program.cells[0];
  const Cell result = fuse_contractions(cell);
  verify(result, program);
  test::Random random(1);
  const auto inputs = test::random_inputs(program, cell, random);
  const auto a = test::outputs(cell, inputs)[0], b = test::outputs(result, inputs)[0];
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-13);
  EXPECT_TRUE(fuse_contractions(result) == result) << print(result, program);
  return result;
}

TEST(FuseContractions, WxPlusUhPlusBIsOneContraction) {
  const Program p = program(
      "%6 = matmul(%0, %3) : f32[6] %7 = matmul(%1, %4) : f32[6]\n"
      "%8 = add(%6, %7) : f32[6] %9 = add(%8, %2) : f32[6] return %9");
  const Cell cell = fused(p);
  EXPECT_EQ(count(cell, "matmul"), 1);
  EXPECT_EQ(count(cell, "add"), 1);
  EXPECT_EQ(print(cell, p),
            "cell c(x: child S, y: child S, hs: children S) -> R {\n"
            "  %0 = param w : f32[6, 4]\n"
            "  %1 = param u : f32[6, 4]\n"
            "  %2 = param b : f32[6]\n"
            "  %3 = port x.0 : f32[4]\n"
            "  %4 = port y.0 : f32[4]\n"
            "  %5 = concat(%0, %1, axis=1) : f32[6, 8]\n"
            "  %6 = concat(%3, %4, axis=0) : f32[8]\n"
            "  %7 = matmul(%5, %6) : f32[6]\n"
            "  %8 = add(%7, %2) : f32[6]\n"
            "  return %8\n"
            "}\n");
}

TEST(FuseContractions, HoweverTheSumIsWritten) {
  const Program p = program(
      "%6 = matmul(%0, %3) : f32[6] %7 = matmul(%1, %4) : f32[6] %8 = matmul(%0, %4) : f32[6]\n"
      "%9 = add(%2, %7) : f32[6] %10 = add(%6, %2) : f32[6] %11 = add(%9, %8) : f32[6]\n"
      "%12 = add(%11, %10) : f32[6] return %12");
  EXPECT_EQ(count(fused(p), "matmul"), 1);
}

TEST(FuseContractions, AlsoPerChild) {
  const Program p = program(
      "%6 = exp(%5) : f32[4]*hs %7 = matmul(%0, %5) : f32[6]*hs %8 = matmul(%1, %6) : f32[6]*hs\n"
      "%9 = add(%7, %8) : f32[6]*hs %10 = sum_children(%9) : f32[6] return %10");
  EXPECT_EQ(count(fused(p), "matmul"), 1);
}

TEST(FuseContractions, NotWhatSomebodyElseReads) {
  const Program p = program(
      "%6 = matmul(%0, %3) : f32[6] %7 = matmul(%1, %4) : f32[6]\n"
      "%8 = add(%6, %7) : f32[6] %9 = mul(%8, %6) : f32[6] return %9");
  EXPECT_EQ(count(fused(p), "matmul"), 2);
}

TEST(FuseContractions, NotPerInstanceWithPerChild) {
  const Program p = program(
      "%6 = matmul(%0, %3) : f32[6] %7 = matmul(%1, %5) : f32[6]*hs\n"
      "%8 = add(%6, %7) : f32[6]*hs %9 = sum_children(%8) : f32[6] return %9");
  EXPECT_EQ(count(fused(p), "matmul"), 2);
}

TEST(FuseContractions, NotComputedMatrices) {
  const Program p = program(
      "%6 = outer(%2, %3) : f32[6, 4] %7 = matmul(%6, %4) : f32[6] %8 = matmul(%1, %4) : f32[6]\n"
      "%9 = add(%7, %8) : f32[6] return %9");
  EXPECT_EQ(count(fused(p), "matmul"), 2);
}

TEST(FuseContractions, TheSameProductTwice) {
  const Program p = program("%6 = matmul(%0, %3) : f32[6] %7 = add(%6, %6) : f32[6] return %7");
  EXPECT_EQ(count(fused(p), "matmul"), 1);
}

TEST(IsShared, KnowsWhatNoInstanceChanges) {
  const Program p = program(
      "%6 = concat(%0, %1, axis=1) : f32[6, 8] %7 = transpose(%6) : f32[8, 6]\n"
      "%8 = matmul(%7, %2) : f32[8] %9 = concat(%3, %4, axis=0) : f32[8]\n"
      "%10 = mul(%8, %9) : f32[8] %11 = matmul(%6, %10) : f32[6] return %11");
  const Graph& graph = p.cells[0].graph;
  for (NodeId id = 0; id < graph.size(); ++id) {
    const std::string_view op = graph[id].op->name;
    const bool moved = op == "transpose" || (op == "concat" && graph[id].type.shape.rank() == 2);
    EXPECT_EQ(is_shared(graph, id), op == "param" || moved) << op;
  }
}

}  // namespace
}  // namespace espalier::ir
