#include "data/formats.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "data/conllu.h"
#include "data/splits.h"
#include "data/text_file.h"

namespace espalier::data {
namespace {

void check_listops_vocabulary(const Dataset& dataset) {
  user_check(!dataset.vocabulary.frozen() || dataset.vocabulary == listops::vocabulary(),
             "{}: found a vocabulary of {} tokens, expected that of ListOps", dataset.name,
             dataset.vocabulary.size());
}

void set_listops(std::vector<Tree> trees, const LoadOptions& options, Dataset& dataset) {
  split_by_position(std::move(trees), options.splits, dataset);
  dataset.vocabulary = listops::vocabulary();
  dataset.classes = listops::kClasses;
}

void generate_listops(const std::string&, const LoadOptions& options, Dataset& dataset) {
  check_listops_vocabulary(dataset);
  set_listops(listops::generate(options.listops), options, dataset);
}

void read_listops(const std::string& file, const LoadOptions& options, Dataset& dataset) {
  check_listops_vocabulary(dataset);
  const TextFile text = read_text_file(file);
  set_listops(listops::parse(text), options, dataset);
  take_note(file, text.tolerated, dataset);
}

void read_sst(const std::string& path, const LoadOptions& options, Dataset& dataset) {
  const std::filesystem::path folder(path);
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
  dataset.fine_sentiment = dataset.classes == 5;
}

void read_ptb(const std::string& file, const LoadOptions& options, Dataset& dataset) {
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

void read_conllu(const std::string& folder, const LoadOptions& options, Dataset& dataset) {
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

constexpr std::array table = {
    Format{"listops", "", "generated expressions", generate_listops},
    Format{"listops", "FILE", "expressions in the published form", read_listops},
    Format{"sst", "DIR", "train.txt, dev.txt and test.txt: binary trees with labels 0 to 4",
           read_sst},
    Format{"ptb", "FILE", "bracket trees with any labels, such as (S (NP it) (VP works))",
           read_ptb},
    Format{"conllu", "DIR", "*-train.conllu, *-dev.conllu and *-test.conllu", read_conllu},
};

}  // namespace

std::string Format::form() const {
  return generated() ? std::string(name) : fmt::format("{}:{}", name, path);
}

std::span<const Format> formats() { return table; }

const Format* find_format(std::string_view spec, std::span<const Format> table) {
  const std::size_t colon = spec.find(':');
  const bool has_path = colon != spec.npos;
  if (has_path && colon + 1 == spec.size()) return nullptr;
  const auto found = std::ranges::find_if(table, [&](const Format& format) {
    return format.name == spec.substr(0, colon) && format.generated() != has_path;
  });
  return found == table.end() ? nullptr : &*found;
}

std::string format_list(std::span<const Format> table) {
  std::string text;
  for (std::size_t i = 0; i < table.size(); ++i)
    text += (i == 0 ? "" : i + 1 == table.size() ? " or " : ", ") + table[i].form();
  return text;
}

}  // namespace espalier::data
