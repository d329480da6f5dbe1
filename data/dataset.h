// The examples of a run: Dataset, the options of the readers, and load_dataset, which turns the
// text after `--data` into a Dataset. Filled by the readers of data/formats.h; used by training
// programs and the command. Always holds: no requested split is empty; words are ids of the
// vocabulary; labels are below `classes`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/listops.h"
#include "data/tree.h"
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

/// How bracket trees are read (data/treebank.h).
struct TreebankOptions {
  /// Labels are the integers 0 … classes − 1, without zeros in front. If 0: five for SST; for PTB
  /// as label_names says.
  int classes = 0;
  /// PTB: refuse an inner node without exactly two children. SST always does.
  bool binary = false;
  /// Who asks for binary trees and what to do about it: ends a complaint about a node that is not.
  std::string binary_reason = {};
  /// Read the tokens -LRB- -RRB- -LSB- -RSB- -LCB- -RCB- as ( ) [ ] { }.
  bool unescape = false;
  /// PTB: the known label texts, label = place; any other is an error. If empty and `classes` is 0,
  /// the file decides: integers if all its labels are integers below 1,000, else names in order
  /// of first appearance.
  std::vector<std::string> label_names = {};
};

namespace conllu {

/// The tree that is made of a CoNLL-U sentence.
enum class Structure : std::uint8_t {
  sequence,      ///< a root without word and label over a leaf for each word, in their order
  dependencies,  ///< a node for each word, over the words whose HEAD it is, in their order
};

}  // namespace conllu

struct LoadOptions {
  listops::GeneratorOptions listops = {};                  // of generated ListOps
  TreebankOptions treebank = {};                           // of trees that are read from files
  conllu::Structure conllu = conllu::Structure::sequence;  // of CoNLL-U sentences
  /// A frozen one (Vocabulary::load, for a saved model) is used as it is. Otherwise it is filled
  /// from the training split, which is then read even if it was not asked for.
  Vocabulary vocabulary = {};
  Splits splits = Splits::each;
};

/// Loads `spec`, which names a format and its path: `sst:DIR`, `listops`, … (formats() in
/// data/formats.h). A single file is split by position: its last tenth is test, the tenth before it
/// dev (each at least one tree, test first), the rest train. UserError for an unknown format or if
/// a requested split is empty, and those of the format's reader.
Dataset load_dataset(std::string_view spec, const LoadOptions& options = {});

}  // namespace espalier::data
