// Passes over bodies of 20,000 ops: they used to recurse on the machine's stack, or to take
// quadratic time.
#include <gtest/gtest.h>

#include "ir/op.h"
#include "ir/passes/fuse_contractions.h"
#include "ir/passes/gradient.h"
#include "ir/passes/hoist.h"
#include "ir/passes/pipeline.h"
#include "ir/passes/simplify.h"
#include "ir/text/print.h"
#include "ir/verify.h"
#include "tests/support/cells.h"
#include "tests/support/long_bodies.h"

namespace espalier::ir {
namespace {

using namespace espalier::test;

constexpr int kOps = 20000;

/// Far above what it takes, far below what quadratic time would.
constexpr double kSeconds = 30;

const Cell& body(const Program& program) { return program.cells[1]; }

/// All passes; what they make must agree with what was written.
void check_passes(const Program& program) {
  const double start = processor_seconds();
  verify(program);
  EXPECT_EQ(print(parse(print(program), "long")), print(program));
  const Cell prepared = simplify(fuse_contractions(body(program)));
  const Differentiated cell = training_cells(program, body(program));
  verify(cell, program);
  EXPECT_EQ(reached_params(program).size(), program.params.size());
  Hoisting hoisting(program);
  EXPECT_LT(processor_seconds() - start, kSeconds);

  Random random(1);
  const CellInputs inputs = random_inputs(program, body(program), random);
  const auto expected = outputs(body(program), inputs), actual = outputs(prepared, inputs);
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < expected[0].size(); ++i)
    EXPECT_NEAR(actual[0][i], expected[0][i], 1e-9);
}

TEST(LongBody, ChainedTanh) { check_passes(chained_tanh(kOps)); }
TEST(LongBody, MixedOps) { check_passes(mixed_ops(kOps)); }
TEST(LongBody, ChainedSums) { check_passes(chained_sums(kOps)); }
TEST(LongBody, MixedKinds) { check_passes(mixed_kinds(kOps)); }

/// A slice moves through all of the chain.
TEST(LongBody, SlicesOfAChain) {
  LongBody written;
  for (int i = 0; i < kOps; ++i) written.add(fmt::format("tanh(%{})", written.size() - 1));
  const int last = written.size() - 1;
  const int a = written.add(fmt::format("slice(%{}, axis=0, begin=0)", last), "2");
  const int b = written.add(fmt::format("slice(%{}, axis=0, begin=2)", last), "2");
  written.add(fmt::format("concat(%{}, %{}, axis=0)", b, a));
  const Program program = written.program();
  check_passes(program);
  const Cell simple = simplify(body(program));
  EXPECT_EQ(simplify(simple), simple);
  for (const Node& node : simple.graph.nodes())
    EXPECT_TRUE(node.op->id != OpId::slice || simple.graph[node.operands[0]].op->id == OpId::port);
}

/// Sums of concats meet part by part, however deep concats lie in concats.
TEST(LongBody, SumsOfNestedConcats) {
  const Type one{DType::f32, {1}, per_instance};
  GraphBuilder builder;
  const auto nested = [&](int port) {
    const Value x = builder.leaf(OpId::port, one, {.ints = {port, 0}});
    Value all = tanh(x);
    for (int i = 0; i < 3000; ++i) {
      const Value parts[] = {all, builder.constant(i, {1}) * x};
      all = builder.apply(op(OpId::concat), parts, {.ints = {0, 0}});
    }
    return all;
  };
  const Value sum = nested(0) + nested(1);
  EXPECT_EQ(sum.node().op->name, "concat");
}

/// W·x + W·x' + …: one contraction.
TEST(LongBody, AChainOfSumsOfProductsIsFused) {
  LongBody written;
  const int w = written.add("param w", "4, 4");
  int sum = written.add(fmt::format("matmul(%{}, %0)", w));
  for (int i = 0; i < 300; ++i) {
    const int x = written.add(fmt::format("tanh(%{})", i == 0 ? 0 : written.size() - 3));
    const int y = written.add(fmt::format("matmul(%{}, %{})", w, x));
    sum = written.add(fmt::format("add(%{}, %{})", sum, y));
  }
  const Program program = written.program();
  const Cell fused = fuse_contractions(body(program));
  int products = 0;
  for (const Node& node : fused.graph.nodes()) products += node.op->id == OpId::matmul;
  EXPECT_EQ(products, 1);
}

}  // namespace
}  // namespace espalier::ir
