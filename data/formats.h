// The data formats, in one visible table: what may follow `--data`. load_dataset, the command's
// help, `espalier info` and the tests walk it. A format is a reader and a row here.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "data/dataset.h"

namespace espalier::data {

struct Format {
  std::string_view name;  ///< before the colon: `sst` of `sst:DIR`
  std::string_view path;  ///< after the colon, `FILE` or `DIR`; empty: generated, without a colon
  std::string_view summary;
  /// Adds the splits that `options` asks for, the vocabulary, classes and notes to `dataset`, whose
  /// name and vocabulary are set. `path` is what the user wrote after the colon. UserError for a
  /// missing file, malformed text, or data that `options` rules out.
  void (*read)(const std::string& path, const LoadOptions& options, Dataset& dataset);

  bool generated() const { return path.empty(); }
  /// As the user writes it: `sst:DIR`, or `listops`.
  std::string form() const;
};

std::span<const Format> formats();

/// The format of `spec`, such as `sst:trees`; null if there is none in the table.
const Format* find_format(std::string_view spec, std::span<const Format> table = formats());

/// `listops, listops:FILE, sst:DIR, ptb:FILE or conllu:DIR`, for messages.
std::string format_list(std::span<const Format> table = formats());

/// load_dataset (data/dataset.h) with another table.
Dataset load_dataset(std::string_view spec, const LoadOptions& options,
                     std::span<const Format> table);

}  // namespace espalier::data
