#include "data/tree.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/data/support.h"

namespace espalier::data {
namespace {

// (9 (7 (1 a=10) (2 b=20)) (3 c=30))
Tree small_tree() {
  TreeBuilder builder;
  builder.leaf(10, 1);
  builder.leaf(20, 2);
  builder.node(2, 7);
  builder.leaf(30, 3);
  builder.node(2, 9);
  return builder.finish();
}

// Left-branching, `depth` edges deep.
Tree comb(int depth) {
  TreeBuilder builder;
  builder.leaf(0);
  for (int i = 1; i <= depth; ++i) {
    builder.leaf(i);
    builder.node(2);
  }
  return builder.finish();
}

std::string text(TreeRef t) {
  return t.leaf() ? std::to_string(t.word()) : "(" + text(t.left()) + " " + text(t.right()) + ")";
}

TEST(Tree, KeepsNodesInPostorder) {
  const Tree tree = small_tree();
  ASSERT_EQ(tree.size(), 5);
  EXPECT_EQ(tree.root(), 4);
  EXPECT_TRUE(tree.is_leaf(0));
  EXPECT_FALSE(tree.is_leaf(2));
  EXPECT_EQ(std::vector(tree.children(2).begin(), tree.children(2).end()),
            (std::vector<int>{0, 1}));
  EXPECT_EQ(std::vector(tree.children(4).begin(), tree.children(4).end()),
            (std::vector<int>{2, 3}));
  EXPECT_TRUE(tree.children(3).empty());
  EXPECT_EQ(tree.word(1), 20);
  EXPECT_EQ(tree.word(2), Tree::kNone);
  EXPECT_EQ(tree.label(2), 7);
  EXPECT_EQ(tree.label(4), 9);
}

TEST(Tree, HoldsNodesOfAnyArity) {
  TreeBuilder builder;
  for (int word = 0; word < 3; ++word) builder.leaf(word);
  builder.node(3);
  builder.node(1);
  const Tree tree = builder.finish();
  EXPECT_EQ(tree.children(3).size(), 3u);
  EXPECT_EQ(tree.children(4).size(), 1u);
  EXPECT_FALSE(is_binary(tree));
  EXPECT_TRUE(is_binary(small_tree()));
}

TEST(Tree, HoldsWordsOfInnerNodes) {
  TreeBuilder builder;
  builder.leaf(10, 1);
  builder.leaf(20, 2);
  builder.node(2, 7, 30);
  const Tree tree = builder.finish();
  EXPECT_EQ(tree.word(2), 30);
  EXPECT_EQ(TreeRef(tree).word(), 30);
  EXPECT_EQ(tree.label(2), 7);
  EXPECT_FALSE(tree.is_leaf(2));
}

TEST(Tree, IsASequenceOfLeaves) {
  EXPECT_EQ(leaves(small_tree()), (std::vector<int>{10, 20, 30}));
  EXPECT_EQ(leaf_labels(small_tree()), (std::vector<int>{1, 2, 3}));
}

TEST(TreeBuilder, RefusesWhatIsNoTree) {
  TreeBuilder builder;
  EXPECT_EQ(refusal([&] { builder.finish(); }),
            "tree: found 0 subtrees without a parent, expected one root");
  builder.leaf(0);
  EXPECT_EQ(refusal([&] { builder.node(2); }),
            "tree: found 1 finished subtrees, expected 2 to join under a node");
  EXPECT_EQ(refusal([&] { builder.node(0); }),
            "tree: found 1 finished subtrees, expected 0 to join under a node");
  builder.leaf(1);
  EXPECT_EQ(refusal([&] { builder.finish(); }),
            "tree: found 2 subtrees without a parent, expected one root");
}

TEST(TreeBuilder, StartsAnewAfterATree) {
  TreeBuilder builder;
  for (int i = 0; i < 2; ++i) {
    builder.leaf(5);
    const Tree tree = builder.finish();
    EXPECT_EQ(tree.size(), 1);
    EXPECT_EQ(depth(tree), 0);
  }
}

TEST(TreeRef, IsForRecursion) {
  const Tree tree = small_tree();
  EXPECT_EQ(text(tree), "((10 20) 30)");
  const TreeRef root = tree;
  EXPECT_EQ(root.label(), 9);
  EXPECT_EQ(root.arity(), 2);
  int sum = 0;
  for (const TreeRef child : root.children()) sum += child.label();
  EXPECT_EQ(sum, 10);
  EXPECT_EQ(refusal([&] { root.right().left(); }), "tree node 3: found 0 children, expected 2");
}

TEST(Fold, VisitsChildrenFirst) {
  const std::string folded =
      fold<std::string>(small_tree(), [](TreeRef node, std::span<std::string> children) {
        std::string result = std::to_string(node.label());
        for (const std::string& child : children) result += "[" + child + "]";
        return result;
      });
  EXPECT_EQ(folded, "9[7[1][2]][3]");
}

TEST(Walk, OpensAndClosesFromTheRoot) {
  std::string steps;
  walk(
      small_tree(), [&](int node) { steps += "+" + std::to_string(node); },
      [&](int node) { steps += "-" + std::to_string(node); });
  EXPECT_EQ(steps, "+4+2+0-0+1-1-2+3-3-4");
}

TEST(Tree, MayBe100000Deep) {
  const Tree tree = comb(100'000);
  EXPECT_EQ(depth(tree), 100'000);
  EXPECT_EQ(leaves(tree).size(), 100'001u);
  const Tree copy = tree;
  EXPECT_EQ(copy, tree);
  int opened = 0;
  walk(tree, [&](int) { ++opened; }, [](int) {});
  EXPECT_EQ(opened, 200'001);
}

}  // namespace
}  // namespace espalier::data
