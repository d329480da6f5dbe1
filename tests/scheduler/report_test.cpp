#include "scheduler/report.h"

#include <array>
#include <ostream>
#include <sstream>
#include <streambuf>

#include "tests/scheduler/scheduling.h"
#include "tests/support/allocations.h"

namespace espalier::test {
namespace {

using scheduler::ScheduleReport;

template <class Print>
std::string printed(const Print& print, const ScheduleReport& report) {
  std::ostringstream out;
  print(out, report);
  return out.str();
}
std::string to_text(const ScheduleReport& report) { return printed(scheduler::print_text, report); }
std::string to_dot(const ScheduleReport& report) { return printed(scheduler::print_dot, report); }
std::string to_json(const ScheduleReport& report) { return printed(scheduler::print_json, report); }

ScheduleReport small_report() {
  SmallTrees trees;
  return scheduler::schedule_report("phase", trees.graph, trees.program,
                                    lay_out("phase", trees.graph, trees.program));
}

TEST(Report, AsText) {
  EXPECT_EQ(
      to_text(small_report()),
      R"(tree_lstm, strategy phase: 2 examples, 9 instances in 4 batches; lower bound 4, ratio 1.00
rows read: 4 contiguous, 3 gathered, 0 shared

batch  level  cell    size  reads
    0      0  leaf       4  word 4 gathered
    1      1  node       1  left 1 contiguous, right 1 contiguous
    2      2  node       1  left 1 contiguous, right 1 contiguous
    3      3  loss       3  state 3 gathered, label 3 gathered
)");
}

TEST(Report, AsDot) {
  EXPECT_EQ(to_dot(small_report()), R"(digraph "tree_lstm phase" {
  rankdir=LR;
  node [shape=box];
  b0 [label="leaf × 4"];
  b1 [label="node × 1"];
  b2 [label="node × 1"];
  b3 [label="loss × 3"];
  { rank=same; b0; }
  { rank=same; b1; }
  { rank=same; b2; }
  { rank=same; b3; }
  b0 -> b1 [label="2"];
  b0 -> b2 [label="1"];
  b1 -> b2 [label="1"];
  b0 -> b3 [label="1"];
  b1 -> b3 [label="1"];
  b2 -> b3 [label="1"];
}
)");
}

TEST(Report, AsJson) {
  SmallTrees trees;
  trees.graph.clear();
  trees.graph.begin_example(0);
  trees.add(SmallTrees::leaf, {}, {1});
  trees.add(SmallTrees::leaf, {}, {2});
  trees.add(SmallTrees::node, {0, 1}, {});
  const auto layout = lay_out("unbatched", trees.graph, trees.program);
  EXPECT_EQ(to_json(scheduler::schedule_report("unbatched", trees.graph, trees.program, layout)),
            R"({
  "program": "tree_lstm",
  "strategy": "unbatched",
  "examples": 1,
  "instances": 3,
  "lower_bound": 2,
  "ratio": 1.5,
  "rows": {"shared": 0, "contiguous": 2, "gathered": 0},
  "batches": [
    {"cell": "leaf", "size": 1, "level": 0, "reads": [{"port": "word", "kind": "index", "access": "shared", "rows": 1}]},
    {"cell": "leaf", "size": 1, "level": 0, "reads": [{"port": "word", "kind": "index", "access": "shared", "rows": 1}]},
    {"cell": "node", "size": 1, "level": 1, "reads": [{"port": "left", "kind": "child", "access": "contiguous", "rows": 1}, {"port": "right", "kind": "child", "access": "contiguous", "rows": 1}]}
  ],
  "edges": [
    {"from": 0, "to": 2, "rows": 1},
    {"from": 1, "to": 2, "rows": 1}
  ]
}
)");
}

TEST(Report, OfNothing) {
  const ir::Program program = make_program(Family::lstm);
  const ir::InstanceGraph graph;
  const auto report =
      scheduler::schedule_report("depth", graph, program, lay_out("depth", graph, program));
  EXPECT_EQ(report.ratio(), 1.0);
  EXPECT_EQ(
      to_text(report),
      "lstm, strategy depth: 0 examples, 0 instances in 0 batches; lower bound 0, ratio 1.00\n"
      "rows read: 0 contiguous, 0 gathered, 0 shared\n");
  EXPECT_NE(to_json(report).find("\"batches\": [\n  ]"), std::string::npos);
}

/// A stream that keeps nothing.
class Discard : public std::streambuf {
  int overflow(int c) override { return c; }
  std::streamsize xsputn(const char*, std::streamsize n) override { return n; }
};

/// A chain has a batch for each node: a report of a million must hold few bytes for each, and no
/// text of them all.
TEST(Report, OfAChainIsSmall) {
  SmallTrees trees;
  const auto allocated = [&](int nodes) {
    trees.graph.clear();
    trees.graph.begin_example(0);
    ir::InstanceId last = trees.graph.add(SmallTrees::leaf, {}, std::array{1});
    for (int i = 1; i < nodes; ++i)
      last = trees.graph.add(SmallTrees::node, std::array{last, last}, {});
    const auto layout = lay_out("unbatched", trees.graph, trees.program);
    const std::size_t before = allocations();
    const auto report = scheduler::schedule_report("unbatched", trees.graph, trees.program, layout);
    Discard nowhere;
    std::ostream out(&nowhere);
    print_text(out, report);
    print_json(out, report);
    print_dot(out, report);
    EXPECT_EQ(report.batches.size(), std::size_t(nodes));
    return allocations() - before;
  };
  const std::size_t few = allocated(1000), many = allocated(64000);
  EXPECT_LE(many, few + 40) << "allocations grow with the chain";
  EXPECT_LE(sizeof(ScheduleReport::Batch), 16u);
  EXPECT_LE(sizeof(ScheduleReport::Read), 8u);
  EXPECT_LE(sizeof(ScheduleReport::Edge), 12u);
}

TEST(Report, EscapesNames) {
  SmallTrees trees;
  trees.program.name = "a \"b\"\\\n";
  const auto layout = lay_out("phase", trees.graph, trees.program);
  const auto report = scheduler::schedule_report("phase", trees.graph, trees.program, layout);
  EXPECT_NE(to_json(report).find(R"("program": "a \"b\"\\\u000a")"), std::string::npos);
}

}  // namespace
}  // namespace espalier::test
