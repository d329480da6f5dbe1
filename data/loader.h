// From the text after --data to the examples of a run: three splits, their vocabulary and classes.
// Made by load_dataset, consumed by the training loop and the tools.
// Always holds: no split that was asked for is empty; words are ids of the vocabulary; labels are
// below `classes`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/conllu.h"
#include "data/listops.h"
#include "data/tree.h"
#include "data/treebank.h"
#include "data/vocabulary.h"

namespace espalier::data {

struct Dataset {
  std::string name;  // the spec it was loaded from
  std::vector<Tree> train, dev, test;
  Vocabulary vocabulary;  // frozen: the training tokens in order of first appearance
  int classes = 0;
  std::vector<std::string> label_names;  // [classes]; empty if the labels are integers themselves
  std::vector<std::string> notes;        // what was tolerated, a line a file, for the user to see
};

/// What is loaded; other splits stay empty, and their files are not read.
enum class Splits : std::uint8_t {
  each,  ///< all three, none empty: what training needs
  train,
  dev,
  test,           ///< that one, not empty
  all_there_are,  ///< in all at least one example
};

struct LoadOptions {
  listops::GeneratorOptions listops = {};  // for spec `listops`
  TreebankOptions treebank = {};           // for `sst:DIR` and `ptb:FILE`; see `conllu:DIR`
  conllu::Structure conllu = conllu::Structure::sequence;  // for `conllu:DIR`
  /// A frozen one (Vocabulary::load, for a saved model) is used as it is; else it is filled from
  /// the training split, which is read for that even if it was not asked for.
  Vocabulary vocabulary = {};
  Splits splits = Splits::each;
};

/// Loads `spec`:
///   listops        generated (listops::generate), split by position
///   listops:FILE   the published form, split by position
///   sst:DIR        DIR/train.txt, DIR/dev.txt, DIR/test.txt
///   ptb:FILE       bracket trees, split by position
///   conllu:DIR     the one file each in DIR that ends in -train.conllu, -dev.conllu, -test.conllu
/// Split by position: the last tenth is test, the tenth before it dev (each at least one tree, test
/// first), the rest train. UserError if a split that was asked for is empty, for an unknown spec, a
/// missing file, malformed text, for ListOps with a frozen vocabulary that is not its own, and for
/// CoNLL-U if `treebank` asks for binary trees or for other labels.
Dataset load_dataset(std::string_view spec, const LoadOptions& options = {});

}  // namespace espalier::data
