#include "data/tree.h"

#include <algorithm>

namespace espalier::data {

void TreeBuilder::leaf(int word, int label) { add(word, label); }

void TreeBuilder::node(int arity, int label, int word) {
  const int ready = static_cast<int>(finished_.size());
  user_check(arity >= 1 && arity <= ready,
             "tree: found {} finished subtrees, expected {} to join under a node", ready, arity);
  const auto first = finished_.end() - arity;
  tree_.children_.insert(tree_.children_.end(), first, finished_.end());
  finished_.erase(first, finished_.end());
  add(word, label);
}

void TreeBuilder::add(int word, int label) {
  finished_.push_back(tree_.size());
  tree_.words_.push_back(word);
  tree_.labels_.push_back(label);
  tree_.child_begin_.push_back(static_cast<int>(tree_.children_.size()));
}

Tree TreeBuilder::finish() {
  user_check(finished_.size() == 1, "tree: found {} subtrees without a parent, expected one root",
             finished_.size());
  finished_.clear();
  return std::exchange(tree_, Tree());
}

std::vector<int> leaves(const Tree& tree) {
  std::vector<int> words;
  for (int node = 0; node < tree.size(); ++node)
    if (tree.is_leaf(node)) words.push_back(tree.word(node));
  return words;
}

std::vector<int> leaf_labels(const Tree& tree) {
  std::vector<int> labels;
  for (int node = 0; node < tree.size(); ++node)
    if (tree.is_leaf(node)) labels.push_back(tree.label(node));
  return labels;
}

int depth(const Tree& tree) {
  return fold<int>(tree, [](TreeRef, std::span<int> children) {
    return children.empty() ? 0 : 1 + *std::ranges::max_element(children);
  });
}

bool is_binary(const Tree& tree) {
  for (int node = 0; node < tree.size(); ++node)
    if (!tree.is_leaf(node) && tree.children(node).size() != 2) return false;
  return true;
}

}  // namespace espalier::data
