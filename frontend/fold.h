// Walks a tree bottom up without recursion, so that its depth is limited by memory only. For models
// that encode one example. Works on trees in postorder arrays (data::Tree) and on nodes that list
// their children (data::TreeRef, or the user's own type).
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <iterator>
#include <ranges>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"

namespace espalier {

/// A tree with nodes 0 … size() − 1 in postorder: children before parents, the root last.
template <class T>
concept PostorderTree = requires(const T& tree, int node) {
  { tree.size() } -> std::integral;
  { tree.is_leaf(node) } -> std::convertible_to<bool>;
  { tree.children(node).size() } -> std::integral;
};

/// The type of the elements in a node's range of children.
template <class T>
using ChildOf = std::ranges::range_reference_t<decltype(std::declval<const T&>().children())>;

/// A node with `leaf()` and `children()`. Children are nodes too: references into the tree, or
/// small values.
template <class T>
concept TreeNode = requires(const T& node) {
  { node.leaf() } -> std::convertible_to<bool>;
  requires std::convertible_to<ChildOf<T>, const T&>;
};

/// Returns the value of the root. The value of a leaf is `leaf(i)`, that of an inner node is
/// `node(i, children)`, where i is the number of the node and `children` a std::span of its
/// children's values from left to right, which may be moved from. UserError for an empty tree.
template <PostorderTree Tree, class Leaf, class Node>
auto fold(const Tree& tree, Leaf&& leaf, Node&& node) {
  using Value = std::decay_t<decltype(leaf(0))>;
  user_check(tree.size() > 0, "an empty tree cannot be folded");
  std::vector<Value> values;
  for (int i = 0; i < static_cast<int>(tree.size()); ++i) {
    if (tree.is_leaf(i)) {
      values.push_back(leaf(i));
      continue;
    }
    const auto arity = static_cast<std::ptrdiff_t>(tree.children(i).size());
    internal_check(arity <= std::ssize(values), "tree node {} precedes its children", i);
    Value value = node(i, std::span<Value>(values.end() - arity, values.end()));
    values.erase(values.end() - arity, values.end());
    values.push_back(std::move(value));
  }
  return std::move(values.back());
}

/// The same for a root node: `leaf(node)` and `node(node, children)` get nodes instead of numbers.
template <TreeNode T, class Leaf, class Node>
  requires(!PostorderTree<T>)
auto fold(const T& root, Leaf&& leaf, Node&& node) {
  using Value = std::decay_t<decltype(leaf(root))>;
  constexpr bool in_place = std::is_lvalue_reference_v<ChildOf<T>>;
  using Held = std::conditional_t<in_place, const T*, T>;
  const auto hold = [](const T& node) -> Held {
    if constexpr (in_place)
      return &node;
    else
      return node;
  };
  const auto get = [](const Held& held) -> const T& {
    if constexpr (in_place)
      return *held;
    else
      return held;
  };
  struct Visit {
    Held node;
    std::ptrdiff_t arity;  // -1: its children are still to be visited
  };
  std::vector<Visit> pending = {{hold(root), -1}};
  std::vector<Value> values;
  while (!pending.empty()) {
    const Visit visit = pending.back();
    const T& here = get(visit.node);
    pending.pop_back();
    if (visit.arity >= 0) {
      Value value = node(here, std::span<Value>(values.end() - visit.arity, values.end()));
      values.erase(values.end() - visit.arity, values.end());
      values.push_back(std::move(value));
    } else if (here.leaf()) {
      values.push_back(leaf(here));
    } else {
      const std::size_t own = pending.size();
      pending.push_back({visit.node, 0});
      for (const T& child : here.children()) pending.push_back({hold(child), -1});
      pending[own].arity = std::ssize(pending) - static_cast<std::ptrdiff_t>(own) - 1;
      std::reverse(pending.begin() + static_cast<std::ptrdiff_t>(own) + 1, pending.end());
    }
  }
  return std::move(values.back());
}

}  // namespace espalier
