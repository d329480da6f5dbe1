// From the text after --data to the examples of a run: three splits, their vocabulary and classes.
// Made by load_dataset, consumed by the training loop and the tools.
// Always holds: no split is empty; words are ids of the vocabulary; labels are below `classes`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

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
};

struct LoadOptions {
  listops::GeneratorOptions listops = {};  // for spec `listops`
  TreebankOptions treebank = {};           // for `sst:DIR` and `ptb:FILE`; see `conllu:DIR`
  /// A frozen one (Vocabulary::load, for a saved model) is used as it is; else it is filled from
  /// the training split.
  Vocabulary vocabulary = {};
};

/// Loads `spec`:
///   listops        generated (listops::generate), split by position
///   listops:FILE   the published form, split by position
///   sst:DIR        DIR/train.txt, DIR/dev.txt, DIR/test.txt
///   ptb:FILE       bracket trees, split by position
///   conllu:DIR     the one file each in DIR that ends in -train.conllu, -dev.conllu, -test.conllu;
///                  tagged sentences as flat trees: see conllu.h
/// Split by position: the last tenth is test, the tenth before it dev (each at least one tree), the
/// rest train; fewer than 3 trees are a UserError. UserError too for an unknown spec, a missing
/// file, malformed text, for ListOps with a frozen vocabulary that is not its own, and for CoNLL-U
/// if `treebank` asks for binary trees or for other labels.
Dataset load_dataset(std::string_view spec, const LoadOptions& options = {});

}  // namespace espalier::data
