// The lists of passes: what is named is what runs, in the same order.
#include "ir/passes/pipeline.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "ir/op.h"
#include "tests/support/random_programs.h"

namespace espalier::ir {
namespace {

TEST(Pipeline, RunsThePassesThatItNames) {
  const Program program = test::random_program(1);
  for (const Cell& cell : program.cells) {
    std::vector<PassInfo> ran;
    const PassObserver note{
        [&](const PassInfo& pass, const Cell&) { ran.push_back(pass); },
        [&](const PassInfo& pass, const Differentiated&) { ran.push_back(pass); }};
    inference_cell(cell, note);
    EXPECT_EQ(ran, passes(Purpose::inference));
    ran.clear();
    training_cells(program, cell, note);
    EXPECT_EQ(ran, passes(Purpose::training));
  }
}

TEST(Pipeline, InferenceDropsNothingAndTrainingDraws) {
  GraphBuilder builder(GraphBuilder::Mode::record);
  const Value x = builder.leaf(OpId::port, {DType::f32, {4}, per_instance}, {.ints = {0, 0}});
  Cell cell{"cell", {{"x", PortKind::child, 0}}, 0, {}, {}};
  cell.outputs = {builder.apply(OpId::dropout, {x}, {.number = 0.5}).id};
  cell.graph = builder.finish(cell.outputs);
  const Program program{"p", {}, {{"s", {{DType::f32, {4}, per_instance}}}}, {cell}};
  const auto draws = [](const Graph& graph) {
    return std::ranges::any_of(graph.nodes(),
                               [](const Node& node) { return node.op->id == OpId::dropout_mask; });
  };
  EXPECT_FALSE(draws(inference_cell(cell).graph));
  EXPECT_TRUE(draws(training_cells(program, cell).forward.graph));
}

}  // namespace
}  // namespace espalier::ir
