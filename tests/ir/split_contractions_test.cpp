#include "ir/passes/split_contractions.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "ir/op.h"
#include "ir/passes/pipeline.h"
#include "ir/text/parse.h"
#include "ir/verify.h"

namespace espalier::ir {
namespace {

int count(const Graph& graph, std::string_view op) {
  int n = 0;
  for (const Node& node : graph.nodes()) n += node.op->name == op;
  return n;
}

/// The backward cell of W·x + U·h, joined, for a word vector of `embed` and a state of 4.
BackwardCell backward_of_step(int embed) {
  const Program program = parse(fmt::format(R"(program test
param embed [9, {0}] glorot
param w [4, {0}] glorot
param u [4, 4] glorot
state S f32[4]
cell step(word: index, before: child S) -> S {{
  %0 = port before.0 : f32[4]
  %1 = port word : i32[]
  %2 = param embed : f32[9, {0}]
  %3 = row(%2, %1) : f32[{0}]
  %4 = param w : f32[4, {0}]
  %5 = matmul(%4, %3) : f32[4]
  %6 = param u : f32[4, 4]
  %7 = matmul(%6, %0) : f32[4]
  %8 = add(%5, %7) : f32[4]
  %9 = tanh(%8) : f32[4]
  return %9
}}
)",
                                            embed));
  const Differentiated result = training_cells(program, program.cells[0]);
  verify(result, program);
  return result.backward;
}

TEST(SplitContractions, UnevenSlicesBecomeContractionsOfTheirOwn) {
  const BackwardCell backward = backward_of_step(6);
  EXPECT_EQ(count(backward.graph, "matmul"), 2);
  for (const Node& node : backward.graph.nodes()) {
    if (node.op->id != OpId::slice) continue;
    EXPECT_TRUE(is_shared(backward.graph, node.operands[0])) << "a slice of a computed value";
  }
}

TEST(SplitContractions, EvenSlicesStayGatesOfOneContraction) {
  EXPECT_EQ(count(backward_of_step(4).graph, "matmul"), 1);
}

TEST(SplitContractions, ContractionsThatAreReadWholeStay) {
  GraphBuilder builder(GraphBuilder::Mode::simplify);
  const Value w = builder.leaf(OpId::param, {DType::f32, {6, 3}, per_instance}, {.ints = {0, 0}});
  const Value x = builder.leaf(OpId::port, {DType::f32, {3}, per_instance}, {.ints = {0, 0}});
  const Value y = builder.apply(OpId::matmul, {w, x});
  const Value head = builder.apply(OpId::slice, {y}, {.ints = {0, 0}, .shape = {2}});
  const Value tail = builder.apply(OpId::slice, {y}, {.ints = {0, 2}, .shape = {4}});
  const auto contractions = [&](NodeId first, NodeId second) {
    std::vector<NodeId> outputs{first, second};
    BackwardCell cell;
    cell.graph = builder.finish(outputs);
    cell.child_gradients = {{0, 0, outputs[0]}, {0, 1, outputs[1]}};
    return count(split_contractions(cell).graph, "matmul");
  };
  EXPECT_EQ(contractions(head.id, tail.id), 2);
  EXPECT_EQ(contractions(head.id, y.id), 1);
}

}  // namespace
}  // namespace espalier::ir
