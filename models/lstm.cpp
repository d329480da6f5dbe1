#include "models/lstm.h"

namespace espalier::models {

Lstm::Lstm(const ModelOptions& options) : TreeModel("lstm", options) {
  const std::int64_t d = options.hidden;
  const Param embed =
      param("embed", {options.vocabulary, options.embed}, Initializer::uniform(0.05));
  const Param w = param("w", {4 * d, options.embed}), u = param("u", {4 * d, d});
  const Param b = param("b", {4 * d});

  start = cell("start", [=]() -> LstmState { return {constant(0, {d}), constant(0, {d})}; });

  step = cell("step", [=](Index word, LstmState before) -> LstmState {
    auto [i, f, o, g] = split<4>(matmul(w, row(embed, word)) + matmul(u, before.h) + b);
    Tensor c = sigmoid(i) * tanh(g) + sigmoid(f) * before.c;
    return {.h = sigmoid(o) * tanh(c), .c = c};
  });

  add_classifier();
}

void Lstm::encode(const Instances& instances, const data::Tree& tree) {
  Call<LstmState> state = instances(start);
  for (int i = 0; i < tree.size(); ++i) {
    if (tree.is_leaf(i))
      states_[i] = state = instances(step, tree.word(i), state);
    else
      check_no_word(tree, i);
  }
  if (options().labels_at == LabelsAt::root) states_[tree.root()] = state;
}

}  // namespace espalier::models
