// The arithmetic counted from the zoo's cells against the formulas that papers give for it.
#include <gtest/gtest.h>

#include <memory>

#include "bench/measure/flops.h"
#include "ir/record/recorder.h"
#include "models/models.h"

namespace espalier::models {
namespace {

constexpr double h = 7, e = 5, c = 3;

std::unique_ptr<TreeModel> make(const char* name) {
  return find_model(name).make({.vocabulary = 11, .embed = 5, .hidden = 7, .classes = 3});
}

/// Three leaves under two nodes, all labelled.
data::Tree three_words() {
  data::TreeBuilder builder;
  builder.leaf(1, 0);
  builder.leaf(2, 1);
  builder.node(2, 2);
  builder.leaf(3, 0);
  builder.node(2, 1);
  return builder.finish();
}

bench::Flops count(TreeModel& model, ir::Granularity granularity = ir::Granularity::cell) {
  ir::Program program = model.program();
  ir::Recorder recorder(program, granularity);
  model.record_loss(Instances(recorder), three_words());
  return bench::FlopCounter(recorder.program()).total(recorder.graph());
}

bench::Flops threefold(double forward) { return {forward, forward, forward}; }

TEST(ModelFlops, TreeLstm) {
  const auto model = make("tree_lstm");
  const bench::Flops expected = threefold(3 * 6 * h * e + 2 * 20 * h * h + 5 * 2 * c * h);
  EXPECT_EQ(count(*model), expected);
  EXPECT_EQ(count(*model, ir::Granularity::op), expected);
  EXPECT_EQ(count(*model).training(), 3 * expected.forward);
}

TEST(ModelFlops, ChildSumTreeLstm) {
  const auto model = make("child_sum_tree_lstm");
  // A leaf: gates i, o, u and f of the word, i, o, u of the sum over no child.
  const double leaf = 2 * 4 * h * e + 2 * 3 * h * h;
  const double inner = 2 * 3 * h * h + 2 * (2 * h * h);
  const bench::Flops expected = threefold(3 * leaf + 2 * inner + 5 * 2 * c * h);
  EXPECT_EQ(count(*model), expected);
  EXPECT_EQ(count(*model, ir::Granularity::op), expected);
}

TEST(ModelFlops, Lstm) {
  const auto model = make("lstm");
  // Labels of inner nodes are none of the sequence's.
  const bench::Flops expected = threefold(3 * (8 * h * e + 8 * h * h) + 3 * 2 * c * h);
  EXPECT_EQ(count(*model), expected);
  EXPECT_EQ(count(*model, ir::Granularity::op), expected);
}

}  // namespace
}  // namespace espalier::models
