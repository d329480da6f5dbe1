// What a run reads from disk, and how it is read. Readers of formats (data/formats.h) fill a
// Dataset; load_dataset (data/loader.h) gives it to the training loop and the tools. Always holds:
// no split that was asked for is empty; words are ids of the vocabulary; labels are below
// `classes`.
#pragma once

#include <cstdint>
#include <string>
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
  /// Whether labels 0 to 4 go from very negative over neutral (2) to very positive.
  bool fine_sentiment = false;
  std::vector<std::string> notes;  // what readers tolerated, one line per file, for the user
};

/// Which splits are loaded. The others stay empty, and their files are not read.
enum class Splits : std::uint8_t {
  each,  ///< all three, none empty: what training needs
  train,
  dev,
  test,           ///< only that one, which must not be empty
  all_there_are,  ///< those that exist; together at least one example
};

struct LoadOptions {
  listops::GeneratorOptions listops = {};                  // of generated ListOps
  TreebankOptions treebank = {};                           // of trees that are read from files
  conllu::Structure conllu = conllu::Structure::sequence;  // of CoNLL-U sentences
  /// A frozen one (Vocabulary::load, for a saved model) is used as it is. Otherwise it is filled
  /// from the training split, which is then read even if it was not asked for.
  Vocabulary vocabulary = {};
  Splits splits = Splits::each;
};

}  // namespace espalier::data
