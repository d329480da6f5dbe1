// Random minibatches of the model zoo for tests of the engine: trees with words and labels, a model
// and its examples recorded into an engine.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "data/tree.h"
#include "models/models.h"
#include "runtime/engine.h"
#include "tests/support/random.h"

namespace espalier::test {

inline constexpr int vocabulary = 11, classes = 5;

/// A tree of about `leaves` leaves; binary if `arity` is 2, else of 1 to `arity` children. Words at
/// the leaves and, if asked for, at inner nodes; labels at the leaves, some inner nodes and the
/// root.
inline data::Tree random_tree(Random& random, int leaves, int arity, bool inner_words) {
  data::TreeBuilder builder;
  int open = 0;
  const auto label = [&] {
    return random.chance(0.7) ? random.integer(classes) : data::Tree::kNone;
  };
  for (int leaf = 0; leaf < leaves; ++leaf) {
    builder.leaf(random.integer(vocabulary), random.integer(classes));
    ++open;
    while (open >= 2 && random.chance(0.5)) {
      const int take = arity == 2 ? 2 : 1 + random.integer(std::min(open, arity));
      builder.node(take, label());
      open -= take - 1;
    }
  }
  while (open >= 2) {
    const int take = arity == 2 ? 2 : std::min(open, arity);
    builder.node(take, label());
    open -= take - 1;
  }
  data::Tree tree = builder.finish();
  tree.set_label(tree.root(), random.integer(classes));
  if (inner_words)
    for (int node = 0; node < tree.size(); ++node)
      if (!tree.is_leaf(node)) tree.set_word(node, random.integer(vocabulary));
  return tree;
}

inline std::vector<data::Tree> random_forest(const std::string& model, std::uint64_t seed,
                                             int trees) {
  Random random(seed);
  std::vector<data::Tree> forest;
  for (int i = 0; i < trees; ++i)
    forest.push_back(random_tree(random, 1 + random.integer(12), model == "tree_lstm" ? 2 : 4,
                                 model == "child_sum_tree_lstm"));
  return forest;
}

inline std::unique_ptr<models::TreeModel> make_model(const std::string& name, int embed, int hidden,
                                                     double dropout = 0) {
  return models::find_model(name).make({.vocabulary = vocabulary,
                                        .embed = embed,
                                        .hidden = hidden,
                                        .classes = classes,
                                        .dropout = dropout,
                                        .labels_at = models::LabelsAt::every_node});
}

/// Fills every param with uniform numbers in ±range, also those that start at 0.
inline void randomize(Engine& engine, std::uint64_t seed, double range = 0.5) {
  Random random(seed);
  for (const ir::Param& param : engine.program().params)
    for (float& value : engine.param(param.name)) value = float(random.real(-range, range));
}

/// The names of all models of the zoo.
inline std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const models::ModelInfo& info : models::models()) names.emplace_back(info.name);
  return names;
}

}  // namespace espalier::test
