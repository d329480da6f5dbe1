// One labelled ordered tree in flat arrays. Made by TreeBuilder (the readers and generators of
// data/), consumed by models, which walk it in postorder, with fold, or by recursion over TreeRef.
// The words of a constituency tree are at its leaves; a dependency tree has one at every node.
// Always holds: children precede their parent, a subtree is a contiguous run of nodes, the root is
// last. Nothing here recurses, so a tree may be as deep as memory allows.
#pragma once

#include <iterator>
#include <ranges>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"

namespace espalier::data {

/// Nodes are numbered 0 … size() − 1 in postorder. Only TreeBuilder makes one that is not empty.
class Tree {
 public:
  /// The word of a node without one, and the label of an unlabelled one.
  static constexpr int kNone = -1;

  int size() const { return static_cast<int>(words_.size()); }
  int root() const { return size() - 1; }

  /// The children of `node` from left to right; empty for a leaf.
  std::span<const int> children(int node) const {
    return std::span(children_).subspan(child_begin_[node],
                                        child_begin_[node + 1] - child_begin_[node]);
  }
  bool is_leaf(int node) const { return child_begin_[node] == child_begin_[node + 1]; }

  /// The vocabulary id of the node's own word, kNone if it has none. A leaf has one.
  int word(int node) const { return words_[node]; }
  int label(int node) const { return labels_[node]; }

  void set_word(int node, int word) { words_[node] = word; }
  void set_label(int node, int label) { labels_[node] = label; }

  bool operator==(const Tree&) const = default;

 private:
  friend class TreeBuilder;

  std::vector<int> words_, labels_;     // [size]
  std::vector<int> child_begin_ = {0};  // [size + 1], into children_
  std::vector<int> children_;           // [size - 1]
};

/// Builds a tree bottom up, as a shift-reduce parser does: leaves from left to right, each inner
/// node as soon as its last child is finished. That order is the postorder in which nodes are kept.
class TreeBuilder {
 public:
  /// Adds a leaf.
  void leaf(int word, int label = Tree::kNone);

  /// Joins the last `arity` finished subtrees under a new node, which may have a word of its own.
  /// UserError if there are fewer.
  void node(int arity, int label = Tree::kNone, int word = Tree::kNone);

  /// Hands the tree over and starts anew. UserError unless exactly one subtree is left.
  Tree finish();

 private:
  void add(int word, int label);

  Tree tree_;
  std::vector<int> finished_;  // subtrees that have no parent yet
};

/// A node of a tree for models that recurse:
/// `t.leaf() ? g(leaf, t.word()) : g(node, encode(g, t.left()), encode(g, t.right()))`.
/// Two words, passed by value; a Tree converts to its root. The tree must outlive it.
class TreeRef {
 public:
  TreeRef(const Tree& tree) : TreeRef(tree, tree.root()) {}  // NOLINT: a tree is its root
  TreeRef(const Tree& tree, int node) : tree_(&tree), node_(node) {}
  TreeRef(Tree&&) = delete;

  const Tree& tree() const { return *tree_; }
  int id() const { return node_; }
  bool leaf() const { return tree_->is_leaf(node_); }
  int word() const { return tree_->word(node_); }
  int label() const { return tree_->label(node_); }
  int arity() const { return static_cast<int>(tree_->children(node_).size()); }

  /// The children from left to right, as a range of TreeRef.
  auto children() const {
    return tree_->children(node_) |
           std::views::transform([tree = tree_](int child) { return TreeRef(*tree, child); });
  }

  /// The two children of a binary node. UserError for any other node.
  TreeRef left() const { return TreeRef(*tree_, binary_child(0)); }
  TreeRef right() const { return TreeRef(*tree_, binary_child(1)); }

 private:
  int binary_child(int which) const {
    user_check(arity() == 2, "tree node {}: found {} children, expected 2", node_, arity());
    return tree_->children(node_)[which];
  }

  const Tree* tree_;
  int node_;
};

/// Computes a value for every node, children first, and returns the root's. `visit(TreeRef node,
/// std::span<Value> children) -> Value` may move from `children`. The tree is not empty.
template <class Value, class Visit>
Value fold(const Tree& tree, Visit&& visit) {
  std::vector<Value> finished;
  for (int node = 0; node < tree.size(); ++node) {
    const auto children = std::prev(finished.end(), std::ssize(tree.children(node)));
    Value value = visit(TreeRef(tree, node), std::span<Value>(children, finished.end()));
    finished.erase(children, finished.end());
    finished.push_back(std::move(value));
  }
  return std::move(finished.back());
}

/// Calls `open(node)` before the children of a node and `close(node)` after them, from the root.
template <class Open, class Close>
void walk(const Tree& tree, Open&& open, Close&& close) {
  std::vector<int> pending = {tree.root()};  // ~node: its children are done
  while (!pending.empty()) {
    const int node = pending.back();
    pending.pop_back();
    if (node < 0) {
      close(~node);
      continue;
    }
    open(node);
    pending.push_back(~node);
    for (int child : tree.children(node) | std::views::reverse) pending.push_back(child);
  }
}

/// The words of the leaves from left to right: a tree without inner words as a sequence of tokens.
std::vector<int> leaves(const Tree& tree);

/// The labels of the leaves from left to right: one label a token.
std::vector<int> leaf_labels(const Tree& tree);

/// The number of edges from the root to the deepest leaf; 0 for a single leaf.
int depth(const Tree& tree);

/// Whether every inner node has exactly two children.
bool is_binary(const Tree& tree);

}  // namespace espalier::data
