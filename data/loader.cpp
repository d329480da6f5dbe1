#include "data/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <system_error>
#include <utility>

#include "data/conllu.h"
#include "data/text_file.h"
#include "ir/error.h"

namespace espalier::data {
namespace {

void split_by_position(std::vector<Tree> trees, Dataset& dataset) {
  user_check(trees.size() >= 3, "{}: found {} trees, expected at least 3 for train, dev and test",
             dataset.name, trees.size());
  const auto tenth = std::max<std::ptrdiff_t>(1, std::ssize(trees) / 10);
  const auto begin = std::make_move_iterator(trees.begin());
  const auto end = std::make_move_iterator(trees.end());
  dataset.train.assign(begin, end - 2 * tenth);
  dataset.dev.assign(end - 2 * tenth, end - tenth);
  dataset.test.assign(end - tenth, end);
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
  split_by_position(
      file.empty() ? listops::generate(options.listops) : listops::parse(read_text_file(file)),
      dataset);
  dataset.vocabulary = listops::vocabulary();
  dataset.classes = listops::kClasses;
}

void load_sst(const std::string& folder, const LoadOptions& options, Dataset& dataset) {
  const std::filesystem::path path(folder);
  std::error_code error;
  user_check(std::filesystem::is_directory(path, error),
             "{}: expected a directory with train.txt, dev.txt and test.txt", folder);
  const auto read = [&](const char* file) {
    Treebank bank = parse_sst(read_text_file(path / file), options.treebank, dataset.vocabulary);
    dataset.classes = bank.classes;
    return std::move(bank.trees);
  };
  dataset.train = read("train.txt");
  dataset.vocabulary.freeze();
  dataset.dev = read("dev.txt");
  dataset.test = read("test.txt");
}

void load_ptb(const std::string& file, const LoadOptions& options, Dataset& dataset) {
  Treebank bank = parse_ptb(read_text_file(file), options.treebank, dataset.vocabulary);
  dataset.classes = bank.classes;
  dataset.label_names = std::move(bank.label_names);
  split_by_position(std::move(bank.trees), dataset);
  if (!dataset.vocabulary.frozen()) forget_words_outside_train(dataset);
}

// The one file in `folder` whose name has this ending.
std::filesystem::path only_file(const std::filesystem::path& folder, std::string_view ending) {
  std::vector<std::string> names;
  std::error_code error;
  const std::filesystem::directory_iterator entries(folder, error);
  user_check(!error, "{}: cannot read the directory: {}", folder.string(), error.message());
  for (const auto& entry : entries)
    if (std::string name = entry.path().filename().string(); name.ends_with(ending))
      names.push_back(std::move(name));
  std::ranges::sort(names);
  user_check(names.size() == 1, "{}: found {}, expected exactly one file *{}", folder.string(),
             names.empty() ? "none" : fmt::format("{}", fmt::join(names, " and ")), ending);
  return folder / names[0];
}

void load_conllu(const std::string& folder, const LoadOptions& options, Dataset& dataset) {
  dataset.classes = static_cast<int>(conllu::kTags.size());
  dataset.label_names.assign(conllu::kTags.begin(), conllu::kTags.end());
  const TreebankOptions& wanted = options.treebank;
  user_check(!wanted.binary,
             "{}: found sentences, which are sequences of words, expected a model that reads them, "
             "such as lstm; this one reads binary trees",
             dataset.name);
  user_check(wanted.classes == 0 &&
                 (wanted.label_names.empty() || wanted.label_names == dataset.label_names),
             "{}: found part-of-speech tags as labels, expected the {} of the model", dataset.name,
             wanted.classes > 0 ? wanted.classes : std::ssize(wanted.label_names));
  std::error_code error;
  user_check(std::filesystem::is_directory(folder, error),
             "{}: expected a directory with *-train.conllu, *-dev.conllu and *-test.conllu",
             folder);
  const auto read = [&](std::string_view ending) {
    return conllu::parse(read_text_file(only_file(folder, ending)), dataset.vocabulary);
  };
  dataset.train = read("-train.conllu");
  dataset.vocabulary.freeze();
  dataset.dev = read("-dev.conllu");
  dataset.test = read("-test.conllu");
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
  return dataset;
}

}  // namespace espalier::data
