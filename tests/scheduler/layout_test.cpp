// Rows and index arrays: an example by hand, and that check finds each way to break them.
#include "scheduler/layout.h"

#include <functional>

#include "tests/scheduler/scheduling.h"

namespace espalier::test {
namespace {

using scheduler::Access;
using scheduler::Layout;
using Rows = std::vector<std::int32_t>;

TEST(Layout, OfSmallTreesByPhase) {
  // leaf 0 1 3 7 | node 2 | node 4 | loss 5 6 8
  SmallTrees trees;
  const Layout layout = lay_out("phase", trees.graph, trees.program);
  check(layout, trees.graph, trees.program);
  EXPECT_EQ(layout.state_sizes, (std::vector<std::uint32_t>{6, 3}));
  EXPECT_EQ(layout.rows, (std::vector<std::uint32_t>{0, 1, 4, 2, 5, 0, 1, 3, 2}));
  ASSERT_EQ(layout.batches.size(), 4u);
  EXPECT_EQ(layout.batches[2].cell_row, 1u);
  EXPECT_EQ(layout.batches[2].state_row, 5u);

  const auto& [leaf, node, loss] = std::tie(layout.cells[0], layout.cells[1], layout.cells[2]);
  EXPECT_EQ(leaf.ports[0].values, (Rows{10, 11, 12, 13}));
  EXPECT_EQ(node.instances, (std::vector<ir::InstanceId>{2, 4}));
  EXPECT_EQ(node.state_rows, (Rows{4, 5}));
  EXPECT_EQ(node.ports[0].values, (Rows{0, 4}));
  EXPECT_EQ(node.ports[1].values, (Rows{1, 2}));
  EXPECT_EQ(loss.ports[0].values, (Rows{4, 5, 3}));
  EXPECT_EQ(loss.ports[1].values, (Rows{1, 1, 0}));
}

/// Two Child-Sum trees: leaves 0 1 2, 3 = node(0 1 0), 4 = node(), 5 = node(3 4 2), loss 6 of 5.
struct SmallChildSum {
  ir::Program program = make_program(Family::child_sum_tree);
  ir::InstanceGraph graph;
  SmallChildSum() {
    for (int k = 0; k < 3; ++k) node(k, {});
    node(3, {0, 1, 0});
    node(4, {});
    node(5, {3, 4, 2});
    graph.add(1, std::vector<ir::InstanceId>{5}, Rows{1});
  }
  void node(std::int32_t word, const std::vector<ir::InstanceId>& children) {
    graph.add(0, children, Rows{word, static_cast<std::int32_t>(children.size())});
  }
};

TEST(Layout, OfChildren) {
  // node 0 1 2 4 | node 3 | node 5 | loss 6
  SmallChildSum trees;
  const Layout layout = lay_out("depth", trees.graph, trees.program);
  check(layout, trees.graph, trees.program);
  const auto& [word, children] = std::tie(layout.cells[0].ports[0], layout.cells[0].ports[1]);
  EXPECT_EQ(word.values, (Rows{0, 1, 2, 4, 3, 5}));
  EXPECT_EQ(children.offsets, (Rows{0, 0, 0, 0, 0, 3, 6}));
  EXPECT_EQ(children.values, (Rows{0, 1, 0, 4, 3, 2}));
  EXPECT_EQ(children.owners, (Rows{4, 4, 4, 5, 5, 5}));
  EXPECT_TRUE(layout.values(0, 1, trees.program).empty());
  EXPECT_EQ(layout.values(2, 1, trees.program).size(), 3u);
}

TEST(Layout, MixesPortsInOrder) {
  // Two Children ports around a Child port, with Index ports between them.
  ir::Program program;
  program.states = {{"State", {{}}}};
  const ir::Port many{"many", ir::PortKind::children, 0}, one{"one", ir::PortKind::child, 0};
  const ir::Port index{"index", ir::PortKind::index, -1};
  program.cells = {{"start", {}, 0, {}, {}}, {"mix", {many, index, one, many, index}, 0, {}, {}}};
  ir::InstanceGraph graph;
  for (int k = 0; k < 4; ++k) graph.add(0, {}, {});
  using Ids = std::vector<ir::InstanceId>;
  graph.add(1, Ids{3, 2, 1, 0}, Rows{2, 20, 1, 21});  // many 3 2, one 1, many 0
  graph.add(1, Ids{2, 3, 3}, Rows{0, 30, 2, 31});     // many none, one 2, many 3 3
  ir::verify(graph, program);
  const Layout layout = lay_out("agenda", graph, program);
  check(layout, graph, program);
  const auto& ports = layout.cells[1].ports;
  EXPECT_EQ(ports[0].values, (Rows{3, 2}));
  EXPECT_EQ(ports[0].offsets, (Rows{0, 2, 2}));
  EXPECT_EQ(ports[1].values, (Rows{20, 30}));
  EXPECT_EQ(ports[2].values, (Rows{1, 2}));
  EXPECT_EQ(ports[3].values, (Rows{0, 3, 3}));
  EXPECT_EQ(ports[3].offsets, (Rows{0, 1, 3}));
  EXPECT_EQ(ports[4].values, (Rows{21, 31}));
}

TEST(Layout, NamesAccesses) {
  ir::Program program = make_program(Family::lstm);
  enum : ir::CellId { start, step, loss };
  ir::InstanceGraph graph;
  const auto add = [&](ir::CellId cell, std::vector<ir::InstanceId> operands, Rows indices) {
    graph.add(cell, operands, indices);
  };
  add(start, {}, {});
  for (int k = 0; k < 3; ++k) add(step, {0}, {7});                 // 1 2 3
  for (ir::InstanceId k = 0; k < 3; ++k) add(step, {k + 1}, {3});  // 4 5 6
  for (ir::InstanceId k = 0; k < 3; ++k) add(loss, {6 - k}, Rows{static_cast<std::int32_t>(k)});
  const Layout layout = lay_out("phase", graph, program);
  ASSERT_EQ(layout.batches.size(), 4u);  // start | step | step | loss
  EXPECT_EQ(layout.access(1, 0, program), Access::shared);
  EXPECT_EQ(layout.access(1, 1, program), Access::shared);
  EXPECT_EQ(layout.access(2, 0, program), Access::contiguous);
  EXPECT_EQ(layout.access(3, 0, program), Access::gathered);
  EXPECT_EQ(layout.access(3, 1, program), Access::gathered);  // consecutive, but no rows
}

TEST(Layout, ForgetsTheLastMinibatchAndProgram) {
  SmallTrees trees;
  SmallChildSum children;
  Layout layout;
  for (int round = 0; round < 2; ++round) {
    layout.clear(trees.program);
    layout.append(trees.graph, run_strategy("depth", trees.graph, trees.program), trees.program);
    check(layout, trees.graph, trees.program);
    layout.clear(children.program);
    layout.append(children.graph, run_strategy("depth", children.graph, children.program),
                  children.program);
    check(layout, children.graph, children.program);
    layout.clear(trees.program);
    check(layout, ir::InstanceGraph(), trees.program);
  }
}

TEST(CheckLayout, FindsEachFault) {
  SmallChildSum trees;
  const Layout good = lay_out("depth", trees.graph, trees.program);
  const auto expect_error = [&](std::string_view part, const std::function<void(Layout&)>& spoil) {
    Layout bad = good;
    spoil(bad);
    expect_internal_error([&] { check(bad, trees.graph, trees.program); }, part);
  };
  const auto port = [](Layout& layout, int p) -> auto& { return layout.cells[0].ports[p]; };
  // clang-format off
  expect_error("another graph", [&](Layout& l) { l.rows.pop_back(); });
  expect_error("another graph", [&](Layout& l) { l.cells.pop_back(); });
  expect_error("another graph", [&](Layout& l) { l.state_sizes.pop_back(); });
  expect_error("batch 1 is of cell 2", [&](Layout& l) { l.batches[1].cell = 2; });
  expect_error("batch 1 starts at", [&](Layout& l) { l.batches[1].cell_row = 3; });
  expect_error("batch 1 starts at", [&](Layout& l) { l.batches[1].state_row = 3; });
  expect_error("batch 2 starts at", [&](Layout& l) { l.batches[1].size = 2; });
  expect_error("batch 3 ends behind", [&](Layout& l) { l.batches[3].size = 2; });
  expect_error("6 of 7 instances", [&](Layout& l) { l.batches.pop_back(); });
  expect_error("states' arenas", [&](Layout& l) { ++l.state_sizes[0]; });
  expect_error("not one of its cell", [&](Layout& l) { l.cells[0].instances[1] = 6; });
  expect_error("instance 0 has rows", [&](Layout& l) { l.cells[0].instances[1] = 0; });
  expect_error("instance 3 has rows", [&](Layout& l) { l.rows[3] = 0; });
  expect_error("instance 3 has rows", [&](Layout& l) { l.cells[0].state_rows[4] = 0; });
  expect_error("do not cover the rows", [&](Layout& l) { l.cells[0].instances.push_back(0); });
  expect_error("has 1 ports laid out", [&](Layout& l) { l.cells[0].ports.pop_back(); });
  expect_error("port 'word' of instance 2", [&](Layout& l) { port(l, 0).values[2] = 7; });
  expect_error("port 'word' of 'node' has 5", [&](Layout& l) { port(l, 0).values.pop_back(); });
  expect_error("instance 5 reads row 0", [&](Layout& l) { port(l, 1).values[3] = 0; });
  expect_error("has 6 values", [&](Layout& l) { --port(l, 1).offsets.back(); });
  expect_error("does not have 3 children", [&](Layout& l) { --port(l, 1).offsets[5]; });
  expect_error("has 6 offsets", [&](Layout& l) { port(l, 1).offsets.pop_back(); });
  expect_error("has owner 5, not 4", [&](Layout& l) { port(l, 1).owners[2] = 5; });
  expect_error("5 owners", [&](Layout& l) { port(l, 1).owners.pop_back(); });
  // clang-format on
}

}  // namespace
}  // namespace espalier::test
