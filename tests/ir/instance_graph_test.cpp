#include "ir/record/instance_graph.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "ir/text/parse.h"
#include "tests/support/refusal.h"

namespace espalier::ir {
namespace {

class Instances : public testing::Test {
 protected:
  enum : CellId { leaf, node, nary, loss };

  InstanceId add(CellId cell, std::vector<InstanceId> operands, std::vector<std::int32_t> indices) {
    return graph_.add(cell, operands, indices);
  }
  std::string refused() const {
    return test::refusal<InternalError>([&] { verify(graph_, program_); });
  }

  Program program_ = parse(R"(program p state S f32[] state L f32[]
    cell leaf(word: index) -> S { %0 = constant(value=1) : f32[] return %0 }
    cell node(l: child S, r: child S) -> S { %0 = port l.0 : f32[] return %0 }
    cell nary(word: index, hs: children S, x: child S) -> S { %0 = port x.0 : f32[] return %0 }
    cell loss(s: child S) -> L { %0 = port s.0 : f32[] return %0 })");
  InstanceGraph graph_;
};

TEST_F(Instances, AreRecorded) {
  graph_.begin_example(70);
  const auto a = add(leaf, {}, {3}), b = add(leaf, {}, {4});
  graph_.begin_example(71);
  const auto c = add(nary, {a, b, a}, {5, 2});
  EXPECT_EQ(graph_.size(), 3u);
  EXPECT_EQ(graph_.examples(), 2u);
  EXPECT_EQ(graph_.cell(c), CellId(nary));
  EXPECT_EQ((std::vector(graph_.operands(c).begin(), graph_.operands(c).end())),
            (std::vector<InstanceId>{a, b, a}));
  EXPECT_EQ((std::vector(graph_.indices(c).begin(), graph_.indices(c).end())),
            (std::vector<std::int32_t>{5, 2}));
  EXPECT_EQ(graph_.indices(b)[0], 4);
  EXPECT_EQ(graph_.operand_begin(c), 0u);
  EXPECT_EQ(graph_.all_operands().size(), 3u);
  EXPECT_EQ(graph_.stream(b).example, 70u);
  EXPECT_EQ(graph_.stream(b).call, 1u);
  EXPECT_EQ(graph_.stream(c).example, 71u);
  EXPECT_EQ(graph_.stream(c).call, 0u);
  EXPECT_EQ(refused(), "(nothing thrown)");
}

TEST_F(Instances, AreForgotten) {
  graph_.begin_example(1);
  add(leaf, {}, {3});
  graph_.set_done(1);
  graph_.clear();
  EXPECT_EQ(graph_.size(), 0u);
  EXPECT_EQ(graph_.examples(), 0u);
  EXPECT_EQ(graph_.done(), 0u);
  const auto a = add(leaf, {}, {9});
  EXPECT_EQ(a, 0u);
  EXPECT_EQ(graph_.indices(a)[0], 9);
  EXPECT_EQ(graph_.stream(a).call, 0u);
}

TEST_F(Instances, MayHaveNoChildren) {
  const auto a = add(leaf, {}, {3});
  add(nary, {a}, {5, 0});
  EXPECT_EQ(refused(), "(nothing thrown)");
}

TEST_F(Instances, OfUnknownCellsAreRefused) {
  add(4, {}, {});
  EXPECT_EQ(refused(), "internal error: instance 0 calls cell 4 of 4");
  graph_.clear();
  add(-1, {}, {});
  EXPECT_EQ(refused(), "internal error: instance 0 calls cell -1 of 4");
}

TEST_F(Instances, ThatReadLaterOnesAreRefused) {
  add(leaf, {}, {3});
  add(node, {0, 1}, {});
  EXPECT_EQ(refused(), "internal error: instance 1 of 'node' reads 1, which does not precede it");
}

TEST_F(Instances, ThatReadAnotherStateAreRefused) {
  add(leaf, {}, {3});
  add(loss, {0}, {});
  add(node, {0, 1}, {});
  EXPECT_EQ(refused(), "internal error: instance 2 of 'node' reads a 'L' at port 'r'");
}

TEST_F(Instances, OfWrongCountsAreRefused) {
  const auto with = [&](CellId cell, std::vector<InstanceId> operands,
                        std::vector<std::int32_t> indices) {
    graph_.clear();
    add(leaf, {}, {0});
    add(cell, operands, indices);
    return refused();
  };
  EXPECT_EQ(with(node, {0}, {}), "internal error: instance 1 of 'node' has too few operands");
  EXPECT_EQ(with(leaf, {}, {}), "internal error: instance 1 of 'leaf' has too few indices");
  EXPECT_EQ(with(node, {0, 0, 0}, {}),
            "internal error: instance 1 of 'node' has too many operands or indices");
  EXPECT_EQ(with(leaf, {}, {1, 2}),
            "internal error: instance 1 of 'leaf' has too many operands or indices");
  EXPECT_EQ(with(nary, {0, 0}, {1, 2}),
            "internal error: instance 1 of 'nary' has too few operands");
  EXPECT_EQ(with(nary, {0, 0, 0}, {1, 1}),
            "internal error: instance 1 of 'nary' has too many operands or indices");
  EXPECT_EQ(with(nary, {0}, {1, -1}), "internal error: instance 1 of 'nary' has too few operands");
}

}  // namespace
}  // namespace espalier::ir
