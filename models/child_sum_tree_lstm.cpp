#include "models/child_sum_tree_lstm.h"

namespace espalier::models {
namespace {

/// Equations 5–8 from the sums of the gates before their non-linearities; `f` is per child.
LstmState combine(const Tensor& iou, const Tensor& f, const Children<LstmState>& children) {
  auto [i, o, u] = split<3>(iou);
  Tensor c = sigmoid(i) * tanh(u) + sum_children(sigmoid(f) * children.c);
  return {.h = sigmoid(o) * tanh(c), .c = c};
}

}  // namespace

ChildSumTreeLstm::ChildSumTreeLstm(const ModelOptions& options)
    : TreeModel("child_sum_tree_lstm", options) {
  const std::int64_t d = options.hidden, e = options.embed;
  const Param embed = param("embed", {options.vocabulary, e}, Initializer::uniform(0.05));
  const Param w_iou = param("w_iou", {3 * d, e}), u_iou = param("u_iou", {3 * d, d});
  const Param b_iou = param("b_iou", {3 * d});
  const Param w_f = param("w_f", {d, e}), u_f = param("u_f", {d, d}), b_f = param("b_f", {d});

  node = cell("node", [=](Index word, Children<LstmState> children) -> LstmState {
    Tensor x = row(embed, word), h = sum_children(children.h);
    return combine(matmul(w_iou, x) + matmul(u_iou, h) + b_iou,
                   matmul(w_f, x) + matmul(u_f, children.h) + b_f, children);
  });

  inner = cell("inner", [=](Children<LstmState> children) -> LstmState {
    Tensor h = sum_children(children.h);
    return combine(matmul(u_iou, h) + b_iou, matmul(u_f, children.h) + b_f, children);
  });

  add_classifier();
}

void ChildSumTreeLstm::encode(const Instances& instances, const data::Tree& tree) {
  for (int i = 0; i < tree.size(); ++i) {
    children_.clear();
    for (int child : tree.children(i)) children_.push_back(states_[child]);
    states_[i] = tree.word(i) == data::Tree::kNone ? instances(inner, children_)
                                                   : instances(node, tree.word(i), children_);
  }
}

}  // namespace espalier::models
