// The model of the README, on the user's own tree type: it compiles, is traced and is recorded.
#include <gtest/gtest.h>

#include <vector>

#include "frontend/model.h"
#include "ir/record/recorder.h"
#include "ir/verify.h"

using namespace espalier;

namespace {

struct Tree {
  int word = 0;
  std::vector<Tree> kids;
  bool leaf() const { return kids.empty(); }
  const Tree& left() const { return kids[0]; }
  const Tree& right() const { return kids[1]; }
};

struct State {
  Tensor h, c;
};

struct TreeLstm : Model {
  Cell<State(Index)> leaf;
  Cell<State(State, State)> node;
  Cell<Tensor(State, Index)> loss;

  TreeLstm(int vocab, int d, int classes) : Model("tree_lstm") {
    declare_state<State>(Shape{d}, Shape{d});
    Param embed = param("embed", {vocab, d}), wl = param("w_leaf", {3 * d, d}),
          bl = param("b_leaf", {3 * d});
    Param u = param("u", {5 * d, 2 * d}), b = param("b", {5 * d}), out = param("out", {classes, d});
    leaf = cell("leaf", [=](Index word) -> State {
      auto [i, o, g] = split<3>(matmul(wl, row(embed, word)) + bl);
      Tensor c = sigmoid(i) * tanh(g);
      return {.h = sigmoid(o) * tanh(c), .c = c};
    });
    node = cell("node", [=](State l, State r) -> State {
      auto [i, fl, fr, o, g] = split<5>(matmul(u, concat(l.h, r.h)) + b);
      Tensor c = sigmoid(i) * tanh(g) + sigmoid(fl) * l.c + sigmoid(fr) * r.c;
      return {.h = sigmoid(o) * tanh(c), .c = c};
    });
    loss = cell("loss", [=](State s, Index label) -> Tensor {
      return cross_entropy(matmul(out, s.h), label);
    });
  }
  Call<State> encode(Instances& g, const Tree& t) const {
    return t.leaf() ? g(leaf, t.word) : g(node, encode(g, t.left()), encode(g, t.right()));
  }
};

TEST(ReadmeModel, CompilesTracesAndRecords) {
  const TreeLstm model(20, 4, 5);
  EXPECT_NO_THROW(ir::verify(model.program()));
  ir::Program program = model.program();
  ir::Recorder recorder(program);  // what an Engine owns
  Instances minibatch(recorder);
  const Tree tree{0, {{3, {}}, {0, {{4, {}}, {5, {}}}}}};
  minibatch.loss(minibatch(model.loss, model.encode(minibatch, tree), 2));
  EXPECT_EQ(minibatch.size(), 6u);
  EXPECT_EQ(recorder.losses().size(), 1u);
  EXPECT_NO_THROW(ir::verify(recorder.graph(), program));
}

}  // namespace
