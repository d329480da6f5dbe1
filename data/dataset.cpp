#include "data/dataset.h"

#include <string>

#include "base/error.h"
#include "data/formats.h"
#include "data/text_file.h"

namespace espalier::data {
namespace {

void drop_unwanted(Splits wanted, Dataset& dataset) {
  if (wanted == Splits::each || wanted == Splits::all_there_are) return;
  if (wanted != Splits::train) dataset.train.clear();
  if (wanted != Splits::dev) dataset.dev.clear();
  if (wanted != Splits::test) dataset.test.clear();
}

}  // namespace

Dataset load_dataset(std::string_view spec, const LoadOptions& options,
                     std::span<const Format> table) {
  const Format* const format = find_format(spec, table);
  user_check(format != nullptr, "unknown data {}: expected {}", quoted(spec), format_list(table));
  Dataset dataset;
  dataset.name = spec;
  dataset.vocabulary = options.vocabulary;
  format->read(std::string(format->generated() ? "" : spec.substr(spec.find(':') + 1)), options,
               dataset);
  dataset.vocabulary.freeze();
  drop_unwanted(options.splits, dataset);
  return dataset;
}

Dataset load_dataset(std::string_view spec, const LoadOptions& options) {
  return load_dataset(spec, options, formats());
}

}  // namespace espalier::data
