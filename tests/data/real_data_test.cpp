// The published data sets, whole. Skipped where they are absent: see tests/support/real_data.h.
#include "tests/support/real_data.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "data/text_file.h"
#include "data/treebank.h"

namespace espalier::data {
namespace {

using test::real_data;

TEST(RealData, Sst) {
  if (!real_data()) GTEST_SKIP() << "real data absent";
  const Dataset sst = load_dataset("sst:" + (*real_data() / "sst").string());
  EXPECT_EQ(sst.train.size(), 8544u);
  EXPECT_EQ(sst.dev.size(), 1101u);
  EXPECT_EQ(sst.test.size(), 2210u);
  EXPECT_EQ(sst.vocabulary.size(), 18281);
  EXPECT_EQ(sst.classes, 5);

  int nodes = 0, deepest = 0, longest = 0;
  std::string text;
  for (const Tree& tree : sst.train) {
    EXPECT_TRUE(is_binary(tree));
    nodes += tree.size();
    deepest = std::max(deepest, depth(tree));
    longest = std::max(longest, static_cast<int>(leaves(tree).size()));
    text += bracketed(tree, sst.vocabulary) + "\n";
  }
  EXPECT_EQ(nodes, 318'582);
  EXPECT_EQ(deepest, 29);
  EXPECT_EQ(longest, 52);
  EXPECT_TRUE(text == read_text_file(*real_data() / "sst" / "train.txt").text) << "round trip";
}

TEST(RealData, SstReadAsPtbIsTheSame) {
  if (!real_data()) GTEST_SKIP() << "real data absent";
  const TextFile file = read_text_file(*real_data() / "sst" / "dev.txt");
  Vocabulary sst_words, ptb_words;
  const Treebank sst = parse_sst(file, {}, sst_words);
  const Treebank ptb = parse_ptb(file, {.binary = true}, ptb_words);
  EXPECT_TRUE(sst.trees == ptb.trees);
  EXPECT_EQ(sst_words, ptb_words);
  EXPECT_EQ(ptb.classes, 5);
  EXPECT_TRUE(ptb.label_names.empty());
}

TEST(RealData, ListOps) {
  if (!real_data()) GTEST_SKIP() << "real data absent";
  const TextFile file = read_text_file(*real_data() / "listops" / "test_d20s.tsv");
  const std::vector<Tree> trees = listops::parse(file);
  EXPECT_EQ(trees.size(), 10'000u);
  std::string text;
  for (const Tree& tree : trees) {
    const int label = tree.label(tree.root());
    EXPECT_EQ(listops::evaluate(tree), label);
    text += std::to_string(label) + "\t" + listops::bracketed(tree) + "\n";
  }
  EXPECT_TRUE(text == file.text) << "round trip";
}

TEST(RealData, UniversalDependencies) {
  if (!real_data()) GTEST_SKIP() << "real data absent";
  const Dataset ewt = load_dataset("conllu:" + (*real_data() / "ud_ewt").string());
  EXPECT_EQ(ewt.train.size(), 12'544u);
  EXPECT_EQ(ewt.dev.size(), 2001u);
  EXPECT_EQ(ewt.test.size(), 2077u);
  EXPECT_EQ(ewt.classes, 17);

  std::size_t longest = 0;
  std::vector<int> of_tag(17, 0);
  const auto tokens = [&](const std::vector<Tree>& trees) {
    std::size_t sum = 0;
    for (const Tree& tree : trees) {
      EXPECT_EQ(tree.children(tree.root()).size() + 1, static_cast<std::size_t>(tree.size()));
      for (int node = 0; node < tree.root(); ++node) ++of_tag.at(tree.label(node));
      sum += leaves(tree).size();
      longest = std::max(longest, leaves(tree).size());
    }
    return sum;
  };
  EXPECT_EQ(tokens(ewt.train), 204'577u);
  EXPECT_EQ(of_tag, (std::vector{13137, 17742, 10167, 12815, 6687, 16299, 695, 34751, 4126, 5748,
                                 18677, 12620, 23596, 3819, 722, 22576, 400}));
  EXPECT_EQ(longest, 159u);
  EXPECT_EQ(tokens(ewt.dev), 25'147u);
  EXPECT_EQ(tokens(ewt.test), 25'094u);
  EXPECT_TRUE(ewt.notes.empty()) << ewt.notes.front();

  // The same words with the same tags, one a node.
  const Dataset trees = load_dataset("conllu:" + (*real_data() / "ud_ewt").string(),
                                     {.conllu = conllu::Structure::dependencies});
  EXPECT_EQ(trees.vocabulary, ewt.vocabulary);
  ASSERT_EQ(trees.train.size(), ewt.train.size());
  int deepest = 0;
  for (std::size_t i = 0; i < ewt.train.size(); ++i) {
    const Tree& sequence = ewt.train[i];
    const Tree& tree = trees.train[i];
    std::vector<std::pair<int, int>> expected, found;
    for (int node = 0; node < sequence.root(); ++node)
      expected.emplace_back(sequence.word(node), sequence.label(node));
    for (int node = 0; node < tree.size(); ++node)
      found.emplace_back(tree.word(node), tree.label(node));
    std::ranges::sort(expected);
    std::ranges::sort(found);
    EXPECT_EQ(found, expected);
    deepest = std::max(deepest, depth(tree));
  }
  EXPECT_EQ(deepest, 16);
}

}  // namespace
}  // namespace espalier::data
