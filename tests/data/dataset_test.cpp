#include "data/dataset.h"

#include <gtest/gtest.h>

#include "data/formats.h"
#include "tests/data/support.h"

namespace espalier::data {
namespace {

constexpr const char* kTen =
    "(0 a)(1 b)(2 c)(0 a)(1 b)(2 c)(0 a)(1 b)\n"
    "(2 (0 c) (1 d))\n"
    "(2 (0 e) (1 a))\n";

TEST(Loader, GeneratesListOps) {
  const LoadOptions options = {.listops = {.seed = 5, .count = 105, .max_tokens = 20}};
  const Dataset dataset = load_dataset("listops", options);
  EXPECT_EQ(dataset.name, "listops");
  EXPECT_EQ(dataset.train.size(), 85u);
  EXPECT_EQ(dataset.dev.size(), 10u);
  EXPECT_EQ(dataset.test.size(), 10u);
  EXPECT_EQ(dataset.classes, 10);
  EXPECT_EQ(dataset.vocabulary, listops::vocabulary());
  EXPECT_EQ(load_dataset("listops", options).test, dataset.test);
}

TEST(Loader, ReadsListOpsFiles) {
  const TemporaryFolder folder;
  const Dataset dataset = load_dataset("listops:" + folder.write("l", "1\t1\n2\t2\n3\t3\n"));
  EXPECT_EQ(dataset.train.at(0).label(0), 1);
  EXPECT_EQ(dataset.dev.at(0).label(0), 2);
  EXPECT_EQ(dataset.test.at(0).label(0), 3);
}

TEST(Loader, ReadsSstFolders) {
  const TemporaryFolder folder;
  folder.write("train.txt", "(3 (2 b) (4 a))\n");
  folder.write("dev.txt", "(1 (2 a) (2 new))\n");
  folder.write("test.txt", "(0 b)\n(4 newer)\n");
  const Dataset dataset = load_dataset("sst:" + (folder / ""));
  EXPECT_EQ(dataset.classes, 5);
  EXPECT_EQ(dataset.vocabulary.size(), 3);
  EXPECT_TRUE(dataset.vocabulary.frozen());
  EXPECT_EQ(leaves(dataset.train.at(0)), (std::vector<int>{1, 2}));
  EXPECT_EQ(leaves(dataset.dev.at(0)), (std::vector<int>{2, 0}));
  EXPECT_EQ(leaves(dataset.test.at(1)), (std::vector<int>{0}));
}

TEST(Loader, SplitsPtbFilesByPosition) {
  const TemporaryFolder folder;
  const Dataset dataset = load_dataset("ptb:" + folder.write("p", kTen));
  EXPECT_EQ(dataset.train.size(), 8u);
  EXPECT_EQ(dataset.dev.size(), 1u);
  EXPECT_EQ(dataset.test.size(), 1u);
  EXPECT_EQ(dataset.classes, 3);
  EXPECT_EQ(dataset.vocabulary.size(), 4) << "of the training trees only";
  EXPECT_EQ(leaves(dataset.dev[0]), (std::vector<int>{3, 0}));
  EXPECT_EQ(leaves(dataset.test[0]), (std::vector<int>{0, 1}));
}

TEST(Loader, NamesPtbLabels) {
  const TemporaryFolder folder;
  const Dataset dataset = load_dataset("ptb:" + folder.write("p", "(A x) (B y) (A z)"));
  EXPECT_EQ(dataset.label_names, (std::vector<std::string>{"A", "B"}));
  EXPECT_EQ(dataset.classes, 2);
}

TEST(Loader, KeepsAFrozenVocabulary) {
  const TemporaryFolder folder;
  LoadOptions options;
  options.vocabulary.intern("zero");
  options.vocabulary.intern("e");
  options.vocabulary.freeze();
  const Dataset dataset = load_dataset("ptb:" + folder.write("p", kTen), options);
  EXPECT_EQ(dataset.vocabulary, options.vocabulary);
  EXPECT_EQ(leaves(dataset.train[0]), (std::vector<int>{0}));
  EXPECT_EQ(leaves(dataset.test[0]), (std::vector<int>{2, 0}));
  EXPECT_EQ(refusal([&] { load_dataset("listops", options); }),
            "listops: found a vocabulary of 3 tokens, expected that of ListOps");
}

TEST(Loader, RefusesUnknownSpecs) {
  for (const std::string spec :
       {"lisops", "sst", "sst:", "ptb:", "listops:", "conllu", "conllu:", "csv:x", ""})
    EXPECT_EQ(refusal([&] { load_dataset(spec); }),
              "unknown data '" + spec + "': expected " + format_list());
  EXPECT_EQ(format_list(), "listops, listops:FILE, sst:DIR, ptb:FILE or conllu:DIR");
}

TEST(Loader, TakesAFormatThatIsARowOfTheTable) {
  const auto read = [](const std::string& path, const LoadOptions& options, Dataset& dataset) {
    dataset = load_dataset("ptb:" + path, options);
    dataset.notes.push_back("by another reader");
  };
  const Format table[] = {formats()[0], {"words", "FILE", "for this test", +read}};
  EXPECT_EQ(format_list(table), formats()[0].form() + " or words:FILE");
  const TemporaryFolder folder;
  const std::string file = folder.write("p", kTen);
  const Dataset dataset = load_dataset("words:" + file, {}, table);
  EXPECT_EQ(dataset.train.size(), 8u);
  EXPECT_EQ(dataset.notes, std::vector<std::string>{"by another reader"});
  EXPECT_EQ(refusal([&] { load_dataset("ptb:" + file, {}, table); }),
            "unknown data 'ptb:" + file + "': expected " + format_list(table));
}

TEST(Loader, RefusesWhatIsNotThere) {
  const TemporaryFolder folder;
  const std::string file = folder.write("p", "(A x) (B y)");
  EXPECT_EQ(refusal([&] { load_dataset("sst:" + file); }),
            file + ": expected a directory with train.txt, dev.txt and test.txt");
  EXPECT_EQ(refusal([&] { load_dataset("sst:" + (folder / "")); }),
            (folder / "train.txt") + ": cannot open the file: No such file or directory");
  EXPECT_EQ(refusal([&] { load_dataset("ptb:" + (folder / "")); }),
            (folder / "") + ": found a directory, expected a file");
  EXPECT_EQ(refusal([&] { load_dataset("listops:" + (folder / "absent")); }),
            (folder / "absent") + ": cannot open the file: No such file or directory");
  EXPECT_EQ(refusal([&] { load_dataset("ptb:" + file); }),
            "ptb:" + file + ": found 2 trees, expected at least 3 for train, dev and test");
}

TEST(Loader, SaysWhereAFileIsWrong) {
  const TemporaryFolder folder;
  folder.write("train.txt", "(3 (2 b) (4 a))\n\n(3 (2 b))\n");
  EXPECT_EQ(
      refusal([&] { load_dataset("sst:" + (folder / "")); }),
      (folder / "train.txt") +
          ":3:9: found ')', expected '(' of a second child (ptb:FILE may hold trees of any arity)");
}

}  // namespace
}  // namespace espalier::data
