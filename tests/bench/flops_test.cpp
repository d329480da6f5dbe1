#include "bench/measure/flops.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ir/text/parse.h"

namespace espalier::bench {
namespace {

using namespace ir;

Program program(const std::string& body) {
  return parse(
      "program test param w [6, 4] glorot param b [6] glorot state S f32[4] state R f32[6]\n"
      "cell c(i: index, x: child S, hs: children S) -> R {\n"
      "%0 = param w : f32[6, 4] %1 = param b : f32[6]\n"
      "%2 = port x.0 : f32[4] %3 = port hs.0 : f32[4]*hs\n" +
      body + "}");
}

CellFlops flops(const std::string& body) { return count_flops(program(body).cells[0]); }

const std::string matmul_of_child =
    "%4 = matmul(%0, %2) : f32[6] %5 = add(%4, %1) : f32[6] return %5";
const std::string matmul_of_children =
    "%4 = matmul(%0, %3) : f32[6]*hs %5 = sum_children(%4) : f32[6] return %5";

TEST(Flops, AContractionCountsTwiceItsProductsAndOnceMoreForEachGradient) {
  const CellFlops counted = flops(matmul_of_child);
  EXPECT_EQ(counted.instance, (Flops{48, 48, 48}));
  EXPECT_EQ(counted.instance.training(), 144);
  EXPECT_EQ(counted.weight_bytes, 96);
}

TEST(Flops, ElementwiseOpsAndReductionsDoNotCount) {
  const CellFlops counted =
      flops("%4 = sum_children(%3) : f32[4] %5 = tanh(%4) : f32[4] return %1");
  EXPECT_EQ(counted.instance, Flops{});
  EXPECT_EQ(counted.weight_bytes, 0);
}

TEST(Flops, ConstantsHaveNoGradient) {
  const CellFlops counted =
      flops("%4 = constant(value=2) : f32[4] %5 = matmul(%0, %4) : f32[6] return %5");
  EXPECT_EQ(counted.instance, (Flops{48, 0, 48}));
}

TEST(Flops, OfAChildrenPortCountForEachChild) {
  const Program p = program(matmul_of_children);
  const CellFlops counted = count_flops(p.cells[0]);
  EXPECT_EQ(counted.instance, Flops{});
  EXPECT_EQ(counted.children[2], (Flops{48, 48, 48}));

  InstanceGraph graph;
  const FlopCounter counter(p);
  // Calls with 0 and 3 children; whose they are does not matter to the counter.
  const std::vector<InstanceId> none = {0}, three = {0, 0, 0, 0};
  graph.add(0, none, std::vector<std::int32_t>{7, 0});
  graph.add(0, three, std::vector<std::int32_t>{7, 3});
  EXPECT_EQ(counter.instance(graph, 0), Flops{});
  EXPECT_EQ(counter.instance(graph, 1), (Flops{144, 144, 144}));
  EXPECT_EQ(counter.total(graph), (Flops{144, 144, 144}));
}

}  // namespace
}  // namespace espalier::bench
