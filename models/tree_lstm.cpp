#include "models/tree_lstm.h"

#include "base/error.h"

namespace espalier::models {

TreeLstm::TreeLstm(const ModelOptions& options) : TreeModel("tree_lstm", options) {
  const std::int64_t d = options.hidden;
  const Param embed =
      param("embed", {options.vocabulary, options.embed}, Initializer::uniform(0.05));
  const Param w_leaf = param("w_leaf", {3 * d, options.embed}), b_leaf = param("b_leaf", {3 * d});
  const Param u = param("u", {5 * d, 2 * d}), b = param("b", {5 * d});

  leaf = cell("leaf", [=](Index word) -> LstmState {
    auto [i, o, g] = split<3>(matmul(w_leaf, row(embed, word)) + b_leaf);
    Tensor c = sigmoid(i) * tanh(g);
    return {.h = sigmoid(o) * tanh(c), .c = c};
  });

  node = cell("node", [=](LstmState l, LstmState r) -> LstmState {
    auto [i, fl, fr, o, g] = split<5>(matmul(u, concat(l.h, r.h)) + b);
    Tensor c = sigmoid(i) * tanh(g) + sigmoid(fl) * l.c + sigmoid(fr) * r.c;
    return {.h = sigmoid(o) * tanh(c), .c = c};
  });

  add_classifier();
}

void TreeLstm::encode(const Instances& instances, const data::Tree& tree) {
  for (int i = 0; i < tree.size(); ++i) {
    if (tree.is_leaf(i)) {
      states_[i] = instances(leaf, tree.word(i));
      continue;
    }
    const auto children = tree.children(i);
    check_no_word(tree, i);
    user_check(children.size() == 2, "{} reads binary trees: node {} has {} children", name(), i,
               children.size());
    states_[i] = instances(node, states_[children[0]], states_[children[1]]);
  }
}

}  // namespace espalier::models
