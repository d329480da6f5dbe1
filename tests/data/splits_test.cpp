// Which files and trees are loaded for a split, what is said about them, and CoNLL-U folders.
#include <gtest/gtest.h>

#include "data/dataset.h"
#include "tests/data/support.h"

namespace espalier::data {
namespace {

const std::string kDogs =
    "1\tdogs\t_\tNOUN\t_\t_\t2\t_\t_\t_\n2\tbark\t_\tVERB\t_\t_\t0\t_\t_\t_\n\n";
const std::string kCats = "1\tcats\t_\tNOUN\t_\t_\t0\t_\t_\t_\n\n";

/// Of train, dev and test.
std::vector<std::size_t> sizes(const Dataset& dataset) {
  return {dataset.train.size(), dataset.dev.size(), dataset.test.size()};
}

using Sizes = std::vector<std::size_t>;

/// As for a saved model: with a vocabulary of a and dogs.
LoadOptions only(Splits splits) {
  LoadOptions options{.splits = splits};
  for (const char* token : {"a", "dogs"}) options.vocabulary.intern(token);
  options.vocabulary.freeze();
  return options;
}

TEST(Splits, OfOneFileNeedOneTreeWhereOneSplitIsAskedFor) {
  const TemporaryFolder folder;
  const std::string one = "ptb:" + folder.write("one", "(0 a)");
  EXPECT_EQ(sizes(load_dataset(one, only(Splits::all_there_are))), (Sizes{0, 0, 1}));
  EXPECT_EQ(sizes(load_dataset(one, only(Splits::test))), (Sizes{0, 0, 1}));
  EXPECT_EQ(refusal([&] { load_dataset(one, only(Splits::dev)); }),
            one +
                ": found 1 tree, of which the last is test and the one before it dev: nothing is "
                "left for dev");
  EXPECT_EQ(refusal([&] { load_dataset(one); }),
            one + ": found 1 trees, expected at least 3 for train, dev and test");

  const std::string two = "ptb:" + folder.write("two", "(0 a) (1 b)");
  EXPECT_EQ(sizes(load_dataset(two, only(Splits::all_there_are))), (Sizes{0, 1, 1}));
  EXPECT_EQ(sizes(load_dataset(two, only(Splits::dev))), (Sizes{0, 1, 0}));
  EXPECT_EQ(refusal([&] { load_dataset(two, only(Splits::train)); }),
            two +
                ": found 2 trees, of which the last is test and the one before it dev: nothing "
                "is left for train");

  const std::string ops = "listops:" + folder.write("ops", "\uFEFF3\t3\r\n");
  const Dataset dataset = load_dataset(ops, {.splits = Splits::test});
  EXPECT_EQ(sizes(dataset), (Sizes{0, 0, 1}));
  EXPECT_EQ(dataset.notes,
            std::vector<std::string>{(folder / "ops") + ": accepted byte order mark (1)"});
}

TEST(Splits, OfOneFileAreThoseOfTheTraining) {
  const TemporaryFolder folder;
  std::string text;
  for (int tree = 0; tree < 25; ++tree) text += "(0 a)\n(1 (0 a) (1 dogs))\n";
  const std::string spec = "ptb:" + folder.write("many", text);
  const Dataset each = load_dataset(spec, only(Splits::each));
  EXPECT_EQ(sizes(each), (Sizes{40, 5, 5}));
  EXPECT_EQ(load_dataset(spec, only(Splits::train)).train, each.train);
  EXPECT_EQ(load_dataset(spec, only(Splits::dev)).dev, each.dev);
  EXPECT_EQ(load_dataset(spec, only(Splits::test)).test, each.test);
  EXPECT_EQ(sizes(load_dataset(spec, only(Splits::test))), (Sizes{0, 0, 5}));
  EXPECT_EQ(sizes(load_dataset(spec, only(Splits::all_there_are))), (Sizes{40, 5, 5}));
}

TEST(Splits, OfFoldersNeedTheirFileOnly) {
  const TemporaryFolder folder;
  folder.write("ud/x-test.conllu", kDogs);
  folder.write("sst/test.txt", "(3 (2 a) (4 b))\n");
  for (const std::string& spec : {"conllu:" + (folder / "ud"), "sst:" + (folder / "sst")}) {
    SCOPED_TRACE(spec);
    EXPECT_EQ(sizes(load_dataset(spec, only(Splits::test))), (Sizes{0, 0, 1}));
    EXPECT_EQ(sizes(load_dataset(spec, only(Splits::all_there_are))), (Sizes{0, 0, 1}));
    EXPECT_NE(refusal([&] { load_dataset(spec, only(Splits::dev)); }), "");
    EXPECT_NE(refusal([&] { load_dataset(spec, only(Splits::each)); }), "");
    EXPECT_NE(refusal([&] { load_dataset(spec, {.splits = Splits::test}); }), "")
        << "without a vocabulary the training words are needed";
  }
  folder.write("none/x.txt", "");
  EXPECT_EQ(refusal([&] { load_dataset("sst:" + (folder / "none"), only(Splits::all_there_are)); }),
            "sst:" + (folder / "none") + ": found no file of a split, expected at least one");
}

TEST(Splits, WithoutAVocabularyTheTrainingWordsMakeOne) {
  const TemporaryFolder folder;
  folder.write("x-train.conllu", kDogs);
  folder.write("x-test.conllu", kCats + kDogs);
  const Dataset dataset = load_dataset("conllu:" + (folder / ""), {.splits = Splits::test});
  EXPECT_EQ(sizes(dataset), (Sizes{0, 0, 2}));
  EXPECT_EQ(dataset.vocabulary.size(), 3);
  EXPECT_EQ(leaves(dataset.test.at(0)), std::vector{Vocabulary::kUnknown});
  EXPECT_EQ(leaves(dataset.test.at(1)), (std::vector{1, 2}));
}

TEST(Splits, SayWhatWasToleratedOnceAFile) {
  const TemporaryFolder folder;
  folder.write("x-train.conllu", "\n\n" + kDogs);
  folder.write("x-dev.conllu", kDogs);
  folder.write("x-test.conllu", kDogs + "# c");
  EXPECT_EQ(load_dataset("conllu:" + (folder / "")).notes,
            (std::vector<std::string>{
                (folder / "x-train.conllu") + ": accepted empty lines too many (2)",
                (folder / "x-test.conllu") + ": accepted comments without a sentence (1)"}));
}

TEST(ConlluFolders, AreReadByTheirEndings) {
  const TemporaryFolder folder;
  const std::string spec = "conllu:" + (folder / "");
  folder.write("x-train.conllu", kDogs);
  folder.write("x-dev.conllu", kCats);
  folder.write("README.txt", "not looked at");
  EXPECT_EQ(refusal([&] { load_dataset(spec); }),
            (folder / "") + ": found none, expected exactly one file *-test.conllu");
  folder.write("x-test.conllu", kDogs);
  const Dataset dataset = load_dataset(spec);
  EXPECT_EQ(dataset.classes, 17);
  EXPECT_EQ(dataset.label_names.at(7), "NOUN");
  EXPECT_EQ(dataset.vocabulary.size(), 3) << "of the training words only";
  EXPECT_EQ(leaves(dataset.dev.at(0)), (std::vector{Vocabulary::kUnknown}));
  EXPECT_EQ(leaves(dataset.test.at(0)), (std::vector{1, 2}));

  folder.write("y-dev.conllu", kDogs);
  EXPECT_EQ(refusal([&] { load_dataset(spec); }),
            (folder / "") +
                ": found x-dev.conllu and y-dev.conllu, expected exactly one file *-dev.conllu");
}

TEST(ConlluFolders, GiveTheStructureThatIsAskedFor) {
  const TemporaryFolder folder;
  for (const char* split : {"train", "dev", "test"})
    folder.write(std::string("x-") + split + ".conllu", kDogs);
  const std::string spec = "conllu:" + (folder / "");
  EXPECT_EQ(load_dataset(spec).train.at(0).size(), 3);
  const Tree tree = load_dataset(spec, {.conllu = conllu::Structure::dependencies}).train.at(0);
  EXPECT_EQ(tree.size(), 2);
  EXPECT_EQ(tree.word(tree.root()), 2) << "bark";
  EXPECT_EQ(tree.word(0), 1) << "dogs";
}

TEST(ConlluFolders, RefuseWhatDoesNotFit) {
  const TemporaryFolder folder;
  const std::string spec = "conllu:" + (folder / "none");
  EXPECT_EQ(refusal([&] { load_dataset(spec); }),
            (folder / "none") +
                ": expected a directory with *-train.conllu, *-dev.conllu and *-test.conllu");
  EXPECT_EQ(
      refusal([&] { load_dataset(spec, {.treebank = {.binary = true, .binary_reason = "why"}}); }),
      spec + ": found sentences with dependency trees, expected a model that reads them (why)");
  EXPECT_EQ(refusal([&] { load_dataset(spec, {.treebank = {.classes = 5}}); }),
            spec + ": found part-of-speech tags as labels, expected the 5 of the model");
  EXPECT_EQ(refusal([&] { load_dataset(spec, {.treebank = {.label_names = {"NN"}}}); }),
            spec + ": found part-of-speech tags as labels, expected the 1 of the model");
}

}  // namespace
}  // namespace espalier::data
