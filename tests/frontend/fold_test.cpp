// Folding trees of both kinds, and very deep ones.
#include "frontend/fold.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "ir/record/recorder.h"
#include "tests/frontend/support.h"

namespace espalier {
namespace {

/// Postorder arrays, as data::Tree has them.
struct Arrays {
  std::vector<std::vector<int>> kids;
  int size() const { return static_cast<int>(kids.size()); }
  bool is_leaf(int i) const { return kids[static_cast<std::size_t>(i)].empty(); }
  const std::vector<int>& children(int i) const { return kids[static_cast<std::size_t>(i)]; }
};

/// A user's own tree, whose nodes cannot be copied.
struct Nested {
  char name;
  std::vector<std::unique_ptr<Nested>> kids;
  bool leaf() const { return kids.empty(); }
  auto children() const {
    return kids | std::views::transform([](const auto& kid) -> const Nested& { return *kid; });
  }
};

/// A node that is a small value.
struct Ref {
  const Arrays* tree;
  int node;
  bool leaf() const { return tree->is_leaf(node); }
  auto children() const {
    return tree->children(node) | std::views::transform([t = tree](int i) { return Ref{t, i}; });
  }
};

const auto join = [](const auto& name, std::span<std::string> children) {
  std::string text = "(" + name;
  for (const std::string& child : children) text += " " + child;
  return text + ")";
};

TEST(Fold, PostorderArrays) {
  const Arrays tree{{{}, {}, {0, 1}, {}, {}, {}, {3, 4, 5}, {2, 6}, {7}}};
  const auto text = fold(
      tree, [](int i) { return std::to_string(i); },
      [](int i, std::span<std::string> children) { return join(std::to_string(i), children); });
  EXPECT_EQ(text, "(8 (7 (2 0 1) (6 3 4 5)))");
}

TEST(Fold, NodesByValue) {
  const Arrays tree{{{}, {}, {0, 1}, {}, {2, 3}}};
  const auto text = fold(
      Ref{&tree, 4}, [](Ref ref) { return std::to_string(ref.node); },
      [](Ref ref, std::span<std::string> children) {
        return join(std::to_string(ref.node), children);
      });
  EXPECT_EQ(text, "(4 (2 0 1) 3)");
}

TEST(Fold, NodesInPlace) {
  Nested root{'a', {}};
  for (char name : {'b', 'c'}) root.kids.push_back(std::make_unique<Nested>(Nested{name, {}}));
  root.kids[0]->kids.push_back(std::make_unique<Nested>(Nested{'d', {}}));
  const auto text = fold(
      root, [](const Nested& n) { return std::string(1, n.name); },
      [](const Nested& n, std::span<std::string> children) {
        return join(std::string(1, n.name), children);
      });
  EXPECT_EQ(text, "(a (b d) c)");
}

TEST(Fold, AnEmptyTreeIsRefused) {
  EXPECT_EQ(test::user_error([] {
              fold(Arrays{}, [](int i) { return i; }, [](int i, std::span<int>) { return i; });
            }),
            "an empty tree cannot be folded");
}

TEST(Fold, AChainAHundredThousandDeepIsRecorded) {
  constexpr int depth = 100000;
  Arrays chain;
  chain.kids.emplace_back();
  for (int i = 0; i < depth; ++i) {
    chain.kids.emplace_back();
    chain.kids.push_back({chain.size() - 2, chain.size() - 1});
  }
  Model model("m");
  const auto leaf = model.cell("leaf", [](Index i) { return one_hot(i, 2); });
  const auto node = model.cell("node", {{2}, {2}}, [](Tensor l, Tensor r) { return l * r; });
  ir::Program program = model.program();
  for (const auto granularity : {ir::Granularity::cell, ir::Granularity::op}) {
    ir::Recorder recorder(program, granularity);
    const Instances g(recorder);
    const auto visit_leaf = [&](const auto&) { return g(leaf, 1); };
    const auto visit_node = [&](const auto&, std::span<Call<Tensor>> children) {
      return g(node, children[0], children[1]);
    };
    const Call<Tensor> root = fold(chain, visit_leaf, visit_node);
    EXPECT_EQ(root.id, 2u * depth);
    const Call<Tensor> again = fold(Ref{&chain, chain.size() - 1}, visit_leaf, visit_node);
    EXPECT_EQ(again.id, 4u * depth + 1);
  }
}

}  // namespace
}  // namespace espalier
