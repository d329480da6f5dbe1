#include "models/tree_model.h"

#include "base/error.h"

namespace espalier::models {

TreeModel::TreeModel(std::string name, const ModelOptions& options)
    : Model(std::move(name)), options_(options) {
  declare_state<LstmState>(Shape{options.hidden}, Shape{options.hidden});
}

void TreeModel::add_classifier() {
  const double dropped = options_.dropout;
  const Param out = param("out", {options_.classes, options_.hidden});
  const Param bias = param("out_bias", {options_.classes});
  loss = cell("loss", [=](LstmState s, Index label) -> Tensor {
    const Tensor h = dropped > 0 ? dropout(s.h, dropped) : s.h;
    return cross_entropy(matmul(out, h) + bias, label);
  });
  predict = cell("predict", [=](LstmState s) -> Tensor { return matmul(out, s.h) + bias; });
}

template <class Visit>
void TreeModel::visit_labels(const Instances& instances, const data::Tree& tree, Visit visit) {
  user_check(tree.size() > 0, "{}: the example is empty", name());
  states_.assign(static_cast<std::size_t>(tree.size()), {});
  encode(instances, tree);
  const int first = options_.labels_at == LabelsAt::root ? tree.root() : 0;
  for (int node = first; node < tree.size(); ++node)
    if (states_[node].recorder && tree.label(node) != data::Tree::kNone) visit(node);
}

void TreeModel::check_no_word(const data::Tree& tree, int node) const {
  user_check(tree.word(node) == data::Tree::kNone,
             "{} reads words at the leaves: inner node {} has one, as in a dependency tree", name(),
             node);
}

void TreeModel::record_loss(const Instances& instances, const data::Tree& tree) {
  visit_labels(instances, tree,
               [&](int node) { instances.loss(instances(loss, states_[node], tree.label(node))); });
}

void TreeModel::record_predictions(const Instances& instances, const data::Tree& tree,
                                   std::vector<Prediction>& predictions) {
  visit_labels(instances, tree, [&](int node) {
    predictions.push_back({node, tree.label(node), instances(predict, states_[node])});
  });
}

}  // namespace espalier::models
