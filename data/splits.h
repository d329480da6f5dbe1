// How the readers of data/formats.cpp come to three splits: by position in one file, or from one
// file per split in a folder.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"
#include "data/text_file.h"
#include "data/tolerated.h"
#include "data/treebank.h"

namespace espalier::data {

/// Adds a note about what a file's reader tolerated, if it tolerated anything.
void take_note(const std::string& file, const Tolerated& tolerated, Dataset& dataset);

/// The last tenth is test, the tenth before it dev (each at least one tree, test first), the rest
/// train. UserError if a split that is wanted would be empty.
void split_by_position(std::vector<Tree> trees, Splits wanted, Dataset& dataset);

/// Turns words that only dev and test hold into unknown ones.
void forget_words_outside_train(Dataset& dataset);

/// Loads one file per split. `find(split, needed)` gives a file's path, or nothing if it neither
/// exists nor is needed. The vocabulary is frozen after train. UserError if no file is found.
void load_folder(
    Splits wanted,
    const std::function<std::optional<std::filesystem::path>(std::string_view, bool)>& find,
    const std::function<Treebank(const TextFile&)>& parse, Dataset& dataset);

}  // namespace espalier::data
