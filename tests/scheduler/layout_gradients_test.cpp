// Gradient rows: an example by hand, the backward pass played through with integers, and that
// check_gradients finds each way to break them.
#include <algorithm>
#include <functional>

#include "scheduler/layout.h"
#include "tests/scheduler/scheduling.h"

namespace espalier::test {
namespace {

using ir::InstanceId;
using scheduler::Layout;
using Rows = std::vector<std::int32_t>;
using Counts = std::vector<std::uint32_t>;

TEST(Gradients, OfSmallTrees) {
  // leaf 0 1 3 7 | node 2 | node 4 | loss 5 6 8, rows 0 1 2 3 | 4 | 5 and 0 1 2. Only instance 2
  // (row 4) has two readers: node 4, then loss 5.
  SmallTrees trees;
  Layout layout = lay_out("phase", trees.graph, trees.program);
  const std::vector<InstanceId> losses{5, 6, 8};
  layout.place_gradients(trees.graph, trees.program, losses);
  check_gradients(layout, trees.graph, trees.program, losses);

  EXPECT_EQ(layout.gradients[0].rows, 7u);
  EXPECT_EQ(layout.gradients[0].target, (Rows{4}));
  EXPECT_EQ(layout.gradients[0].offsets, (Rows{0, 2}));
  EXPECT_EQ(layout.gradients[0].summed, (Rows{4, 6}));
  EXPECT_EQ(layout.gradients[1].rows, 3u);
  EXPECT_EQ(layout.first_target, (Counts{0, 0, 1, 0}));
  EXPECT_EQ(layout.target_count, (Counts{0, 1, 0, 0}));
  EXPECT_EQ(layout.cells[SmallTrees::node].ports[0].gradient_rows, (Rows{0, 4}));
  EXPECT_EQ(layout.cells[SmallTrees::node].ports[1].gradient_rows, (Rows{1, 2}));
  EXPECT_EQ(layout.cells[SmallTrees::loss].ports[0].gradient_rows, (Rows{6, 5, 3}));
  EXPECT_TRUE(layout.cells[SmallTrees::loss].ports[1].gradient_rows.empty());
  EXPECT_EQ(layout.loss_rows, (Rows{0, 1, 2}));
}

TEST(Gradients, OfUnreadAndDoublyReadValues) {
  // node(0, 0) reads its child twice; instance 1 is read by nobody; loss 3 counts twice, and once
  // more as an operand it could not be, so it has two readers.
  SmallTrees trees;
  trees.graph.clear();
  trees.add(SmallTrees::leaf, {}, {1});
  trees.add(SmallTrees::leaf, {}, {2});
  trees.add(SmallTrees::node, {0, 0}, {});
  trees.add(SmallTrees::loss, {2}, {0});
  Layout layout = lay_out("agenda", trees.graph, trees.program);
  const std::vector<InstanceId> losses{3, 3};
  layout.place_gradients(trees.graph, trees.program, losses);
  check_gradients(layout, trees.graph, trees.program, losses);
  EXPECT_EQ(layout.gradients[0].target, (Rows{0, 1}));
  EXPECT_EQ(layout.gradients[0].offsets, (Rows{0, 2, 2}));
  EXPECT_EQ(layout.cells[SmallTrees::node].ports[0].gradient_rows, (Rows{0}));
  EXPECT_EQ(layout.cells[SmallTrees::node].ports[1].gradient_rows, (Rows{3}));
  EXPECT_EQ(layout.gradients[1].target, (Rows{0}));
  EXPECT_EQ(layout.loss_rows, (Rows{0, 1}));
}

TEST(Gradients, ArePlacedAgainWithOtherLosses) {
  SmallTrees trees;
  Layout layout = lay_out("depth", trees.graph, trees.program);
  for (const auto& losses : {std::vector<InstanceId>{5, 6, 8}, {8}, {}, {4, 4, 7}}) {
    layout.place_gradients(trees.graph, trees.program, losses);
    check_gradients(layout, trees.graph, trees.program, losses);
  }
}

/// A gradient arena of integers in which every row may be stored once, and once more by its sum.
class IntegerArena {
 public:
  explicit IntegerArena(std::uint32_t rows) : values_(rows), stored_(rows) {}
  void store(std::int32_t row, std::int64_t value) {
    EXPECT_FALSE(stored_.at(row)) << "row " << row << " is stored twice";
    stored_[row] = true;
    values_[row] = value;
  }
  void store_sum(std::int32_t row, std::int64_t sum) {
    stored_[row] = true;
    values_[row] = sum;
  }
  std::int64_t load(std::int32_t row) const {
    EXPECT_TRUE(stored_.at(row)) << "row " << row << " is read before it is stored";
    return values_[row];
  }
  bool all_stored() const {
    return std::find(stored_.begin(), stored_.end(), false) == stored_.end();
  }

 private:
  std::vector<std::int64_t> values_;
  std::vector<bool> stored_;
};

/// Runs the batches backward. Each reader hands each of its operands a random number; what arrives
/// at an instance must be the sum over its readers by the time its own batch runs.
void play_backward(const Layout& layout, const ir::InstanceGraph& graph, const ir::Program& program,
                   std::span<const InstanceId> losses, Random& random) {
  std::vector<IntegerArena> arenas;
  for (const auto& gradient : layout.gradients) arenas.emplace_back(gradient.rows);
  std::vector<std::int64_t> expected(graph.size());
  const auto state_of = [&](InstanceId i) { return program.cells[graph.cell(i)].state; };
  const auto contribute = [&](InstanceId to, std::int32_t gradient_row) {
    const std::int64_t number = random.between(-1000, 1000);
    expected[to] += number;
    arenas[state_of(to)].store(gradient_row, number);
  };

  for (std::size_t k = 0; k < losses.size(); ++k) contribute(losses[k], layout.loss_rows[k]);
  for (std::size_t b = layout.batches.size(); b-- > 0;) {
    const auto& batch = layout.batches[b];
    const ir::Cell& cell = program.cells[batch.cell];
    const auto& gradient = layout.gradients[cell.state];
    for (std::uint32_t t = 0; t < layout.target_count[b]; ++t) {
      const std::uint32_t target = layout.first_target[b] + t;
      std::int64_t sum = 0;
      for (std::int32_t k = gradient.offsets[target]; k < gradient.offsets[target + 1]; ++k)
        sum += arenas[cell.state].load(gradient.summed[k]);
      arenas[cell.state].store_sum(gradient.target[target], sum);
    }
    for (std::uint32_t k = 0; k < batch.size; ++k) {
      const std::uint32_t row = batch.cell_row + k;
      const InstanceId i = layout.cells[batch.cell].instances[row];
      EXPECT_EQ(arenas[cell.state].load(static_cast<std::int32_t>(batch.state_row + k)),
                expected[i]);
      std::size_t operand = 0;
      for (std::size_t p = 0; p < cell.ports.size(); ++p) {
        const auto& port = layout.cells[batch.cell].ports[p];
        if (cell.ports[p].kind == ir::PortKind::index) continue;
        const bool children = cell.ports[p].kind == ir::PortKind::children;
        const std::size_t begin = children ? port.offsets[row] : row;
        const std::size_t end = children ? port.offsets[row + 1] : row + 1;
        for (std::size_t slot = begin; slot < end; ++slot)
          contribute(graph.operands(i)[operand++], port.gradient_rows[slot]);
      }
    }
  }
  for (const IntegerArena& arena : arenas) EXPECT_TRUE(arena.all_stored());
}

TEST(Gradients, ReachEveryReader) {
  for (const auto& strategy : scheduler::strategies()) {
    for (Family family : families()) {
      for (std::uint64_t seed = 0; seed < 40; ++seed) {
        SCOPED_TRACE(::testing::Message() << strategy.name << name(family) << " seed " << seed);
        Random random(seed);
        const ir::Program program = make_program(family, seed);
        const ir::InstanceGraph graph = make_instances(family, program, seed, seed * seed / 4);
        auto losses = loss_instances(graph, program);
        // Some more losses: of any cell, read or not, and some of them twice.
        for (std::size_t extra = graph.size() / 10; extra > 0; --extra)
          losses.push_back(static_cast<InstanceId>(random.below(graph.size())));
        Layout layout = lay_out(strategy.name, graph, program);
        layout.place_gradients(graph, program, losses);
        check(layout, graph, program);
        check_gradients(layout, graph, program, losses);
        play_backward(layout, graph, program, losses, random);
        if (::testing::Test::HasFailure()) return;
      }
    }
  }
}

TEST(CheckGradients, FindsEachFault) {
  SmallTrees trees;
  const std::vector<InstanceId> losses{5, 6, 8};
  Layout good = lay_out("phase", trees.graph, trees.program);
  const auto expect_error = [&](std::string_view part, const std::function<void(Layout&)>& spoil) {
    Layout bad = good;
    spoil(bad);
    expect_internal_error([&] { check_gradients(bad, trees.graph, trees.program, losses); }, part);
  };
  expect_error("gradients are not placed", [](Layout&) {});
  good.place_gradients(trees.graph, trees.program, losses);
  const auto rows = [](Layout& layout) -> Rows& {
    return layout.cells[SmallTrees::node].ports[0].gradient_rows;
  };
  // clang-format off
  expect_error("has 1 gradient rows for 2", [&](Layout& l) { rows(l).pop_back(); });
  expect_error("reader of row 0 of state 'State'", [&](Layout& l) { rows(l)[0] = 6; });
  expect_error("stores into row 6, not 4", [&](Layout& l) { rows(l)[1] = 6; });
  expect_error("2 loss rows for 3", [&](Layout& l) { l.loss_rows.pop_back(); });
  expect_error("stores into row 1, not 0", [&](Layout& l) { l.loss_rows[0] = 1; });
  expect_error("is not target 0", [&](Layout& l) { l.gradients[0].target[0] = 3; });
  expect_error("does not sum 2 rows", [&](Layout& l) { l.gradients[0].offsets[1] = 1; });
  expect_error("batch 1 sums targets", [&](Layout& l) { l.target_count[1] = 0; });
  expect_error("batch 2 sums targets", [&](Layout& l) { l.first_target[2] = 0; });
  expect_error("has 8 gradient rows, not 7", [&](Layout& l) { ++l.gradients[0].rows; });
  expect_error("has 1 targets and 3 summed", [&](Layout& l) { l.gradients[0].summed.push_back(7); });
  expect_error("summed row 1", [&](Layout& l) { l.gradients[0].summed[1] = 5; });
  // clang-format on
}

}  // namespace
}  // namespace espalier::test
