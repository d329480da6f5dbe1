#include "data/splits.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "data/text_file.h"

namespace espalier::data {

void take_note(const std::string& file, const Tolerated& tolerated, Dataset& dataset) {
  if (const std::string text = tolerated.to_text(); !text.empty())
    dataset.notes.push_back(fmt::format("{}: accepted {}", file, text));
}

void split_by_position(std::vector<Tree> trees, Splits wanted, Dataset& dataset) {
  user_check(wanted != Splits::each || trees.size() >= 3,
             "{}: found {} trees, expected at least 3 for train, dev and test", dataset.name,
             trees.size());
  const std::ptrdiff_t size = std::ssize(trees), tenth = std::max<std::ptrdiff_t>(1, size / 10);
  const auto at = [&](std::ptrdiff_t place) {
    return std::make_move_iterator(trees.begin() + std::max<std::ptrdiff_t>(0, place));
  };
  dataset.train.assign(at(0), at(size - 2 * tenth));
  dataset.dev.assign(at(size - 2 * tenth), at(size - tenth));
  dataset.test.assign(at(size - tenth), at(size));
  const auto& asked = wanted == Splits::train ? dataset.train
                      : wanted == Splits::dev ? dataset.dev
                                              : dataset.test;
  user_check(!asked.empty(),
             "{}: found {}, of which the last is test and the one before it dev: nothing is left "
             "for {}",
             dataset.name, size == 1 ? "1 tree" : "2 trees",
             wanted == Splits::train ? "train" : "dev");
}

// Ids are in order of first appearance and training comes first: what dev and test alone hold has
// the highest ids.
void forget_words_outside_train(Dataset& dataset) {
  int known = 1;
  for (const Tree& tree : dataset.train)
    for (int node = 0; node < tree.size(); ++node) known = std::max(known, tree.word(node) + 1);
  for (std::vector<Tree>* split : {&dataset.dev, &dataset.test})
    for (Tree& tree : *split)
      for (int node = 0; node < tree.size(); ++node)
        if (tree.word(node) >= known) tree.set_word(node, Vocabulary::kUnknown);
  dataset.vocabulary.truncate(known);
}

void load_folder(
    Splits wanted,
    const std::function<std::optional<std::filesystem::path>(std::string_view, bool)>& find,
    const std::function<Treebank(const TextFile&)>& parse, Dataset& dataset) {
  const auto load = [&](Splits split, const char* name, std::vector<Tree>& trees) {
    const bool needed = wanted == Splits::each || wanted == split ||
                        (split == Splits::train && !dataset.vocabulary.frozen());
    if (!needed && wanted != Splits::all_there_are) return;
    const std::optional<std::filesystem::path> path = find(name, needed);
    if (!path) return;
    const TextFile file = read_text_file(*path);
    Treebank bank = parse(file);
    trees = std::move(bank.trees);
    dataset.classes = bank.classes;
    dataset.label_names = std::move(bank.label_names);
    take_note(file.name, bank.tolerated, dataset);
  };
  load(Splits::train, "train", dataset.train);
  dataset.vocabulary.freeze();
  load(Splits::dev, "dev", dataset.dev);
  load(Splits::test, "test", dataset.test);
  user_check(!dataset.train.empty() || !dataset.dev.empty() || !dataset.test.empty(),
             "{}: found no file of a split, expected at least one", dataset.name);
}

}  // namespace espalier::data
