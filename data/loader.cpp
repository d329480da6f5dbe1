#include "data/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <optional>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "data/conllu.h"
#include "data/text_file.h"

namespace espalier::data {
namespace {

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

void drop_unwanted(Splits wanted, Dataset& dataset) {
  if (wanted == Splits::each || wanted == Splits::all_there_are) return;
  if (wanted != Splits::train) dataset.train.clear();
  if (wanted != Splits::dev) dataset.dev.clear();
  if (wanted != Splits::test) dataset.test.clear();
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

void load_listops(const std::string& file, const LoadOptions& options, Dataset& dataset) {
  user_check(!dataset.vocabulary.frozen() || dataset.vocabulary == listops::vocabulary(),
             "{}: found a vocabulary of {} tokens, expected that of ListOps", dataset.name,
             dataset.vocabulary.size());
  if (file.empty()) {
    split_by_position(listops::generate(options.listops), options.splits, dataset);
  } else {
    const TextFile text = read_text_file(file);
    split_by_position(listops::parse(text), options.splits, dataset);
    take_note(file, text.tolerated, dataset);
  }
  dataset.vocabulary = listops::vocabulary();
  dataset.classes = listops::kClasses;
}

// Loads the files of a folder, one a split. `find(split, needed)` gives a file's path, or nothing
// if it is neither there nor needed; `parse(TextFile)` gives a Treebank.
template <class Find, class Parse>
void load_folder(Splits wanted, Find find, Parse parse, Dataset& dataset) {
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

void load_sst(const std::filesystem::path& folder, const LoadOptions& options, Dataset& dataset) {
  std::error_code error;
  user_check(std::filesystem::is_directory(folder, error),
             "{}: expected a directory with train.txt, dev.txt and test.txt", folder.string());
  const auto find = [&](std::string_view split, bool needed) {
    std::filesystem::path path = folder / fmt::format("{}.txt", split);
    return needed || std::filesystem::exists(path, error) ? std::optional(std::move(path))
                                                          : std::nullopt;
  };
  const auto parse = [&](const TextFile& file) {
    return parse_sst(file, options.treebank, dataset.vocabulary);
  };
  load_folder(options.splits, find, parse, dataset);
}

void load_ptb(const std::string& file, const LoadOptions& options, Dataset& dataset) {
  Treebank bank = parse_ptb(read_text_file(file), options.treebank, dataset.vocabulary);
  dataset.classes = bank.classes;
  dataset.label_names = std::move(bank.label_names);
  take_note(file, bank.tolerated, dataset);
  split_by_position(std::move(bank.trees), options.splits, dataset);
  if (!dataset.vocabulary.frozen()) forget_words_outside_train(dataset);
}

// The one file in `folder` whose name has this ending; nothing if there is none and none is needed.
std::optional<std::filesystem::path> only_file(const std::filesystem::path& folder,
                                               std::string_view ending, bool needed) {
  std::vector<std::string> names;
  std::error_code error;
  const std::filesystem::directory_iterator entries(folder, error);
  user_check(!error, "{}: cannot read the directory: {}", folder.string(), error.message());
  for (const auto& entry : entries)
    if (std::string name = entry.path().filename().string(); name.ends_with(ending))
      names.push_back(std::move(name));
  if (names.empty() && !needed) return std::nullopt;
  std::ranges::sort(names);
  user_check(names.size() == 1, "{}: found {}, expected exactly one file *{}", folder.string(),
             names.empty() ? "none" : fmt::format("{}", fmt::join(names, " and ")), ending);
  return folder / names[0];
}

void load_conllu(const std::string& folder, const LoadOptions& options, Dataset& dataset) {
  const TreebankOptions& wanted = options.treebank;
  user_check(!wanted.binary,
             "{}: found sentences with dependency trees, expected a model that reads them{}",
             dataset.name,
             wanted.binary_reason.empty() ? "" : fmt::format(" ({})", wanted.binary_reason));
  user_check(wanted.classes == 0 && (wanted.label_names.empty() ||
                                     std::ranges::equal(wanted.label_names, conllu::kTags)),
             "{}: found part-of-speech tags as labels, expected the {} of the model", dataset.name,
             wanted.classes > 0 ? wanted.classes : std::ssize(wanted.label_names));
  std::error_code error;
  user_check(std::filesystem::is_directory(folder, error),
             "{}: expected a directory with *-train.conllu, *-dev.conllu and *-test.conllu",
             folder);
  const auto find = [&](std::string_view split, bool needed) {
    return only_file(folder, fmt::format("-{}.conllu", split), needed);
  };
  const auto parse = [&](const TextFile& file) {
    return conllu::parse(file, options.conllu, dataset.vocabulary);
  };
  load_folder(options.splits, find, parse, dataset);
}

}  // namespace

Dataset load_dataset(std::string_view spec, const LoadOptions& options) {
  const std::size_t colon = spec.find(':');
  const std::string_view kind = spec.substr(0, colon);
  const std::string path(colon == spec.npos ? "" : spec.substr(colon + 1));

  Dataset dataset;
  dataset.name = spec;
  dataset.vocabulary = options.vocabulary;
  if (kind == "listops" && (colon == spec.npos || !path.empty()))
    load_listops(path, options, dataset);
  else if (kind == "sst" && !path.empty())
    load_sst(path, options, dataset);
  else if (kind == "ptb" && !path.empty())
    load_ptb(path, options, dataset);
  else if (kind == "conllu" && !path.empty())
    load_conllu(path, options, dataset);
  else
    throw UserError(fmt::format(
        "unknown data {}: expected listops, listops:FILE, sst:DIR, ptb:FILE or conllu:DIR",
        quoted(spec)));
  dataset.vocabulary.freeze();
  drop_unwanted(options.splits, dataset);
  return dataset;
}

}  // namespace espalier::data
