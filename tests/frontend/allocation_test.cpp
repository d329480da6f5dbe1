// After warm-up, recording a minibatch allocates nothing: calls of all kinds of cells, and
// arithmetic outside them.
#include <gtest/gtest.h>

#include "ir/record/recorder.h"
#include "tests/frontend/support.h"
#include "tests/support/allocations.h"

namespace espalier {
namespace {

struct State {
  Tensor h, c;
};

TEST(WarmRecording, AllocatesNothing) {
  Model model("m");
  model.declare_state<State>(Shape{2}, Shape{2});
  const Param w = model.param("w", {5, 2});
  const auto leaf = model.cell("leaf", [=](Index i) -> State { return {row(w, i), row(w, i)}; });
  const auto node = model.cell("node", [=](State l, State r) -> State { return {l.h * r.h, l.c}; });
  const auto many = model.cell("many", [=](Children<State> kids) -> State {
    return {sum_children(kids.h), mean_children(tanh(kids.c))};
  });
  const auto loss =
      model.cell("loss", [=](State s, Index i) { return cross_entropy(matmul(w, s.h), i); });
  using enum ir::Granularity;
  for (const ir::RecordOptions options :
       {ir::RecordOptions{cell}, {op}, {cell, true}, {op, true}, {cell, true, true}}) {
    ir::Program program = model.program();
    ir::Recorder recorder(program, options);
    std::vector<Call<State>> kids;
    std::size_t before = 0;
    for (int round = 0; round < 3; ++round) {
      if (round == 1) before = test::allocations();
      recorder.clear();
      const Instances g(recorder);
      for (int example = 0; example < 20; ++example) {
        g.begin_example(static_cast<std::uint64_t>(example));
        kids.clear();
        for (int i = 0; i < 5; ++i) kids.push_back(g(node, g(leaf, i), g(leaf, example % 5)));
        const auto root = g(many, kids);
        const auto h = field(root, &State::h);
        g.loss(g(loss, root, 1));
        g.loss(sum(2.0 * matmul(w, tanh(h))) + cross_entropy(matmul(w, h), 3));
      }
    }
    EXPECT_EQ(test::allocations(), before);
  }
}

}  // namespace
}  // namespace espalier
