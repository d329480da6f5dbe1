// From the text after --data to the examples of a run: finds the format and lets its reader do the
// work. Used by the training loop and the tools.
#pragma once

#include <span>
#include <string_view>

#include "data/dataset.h"
#include "data/formats.h"

namespace espalier::data {

/// Loads `spec`, which has the form of a row of `table`: `sst:DIR`, `listops`, … A single file is
/// split by position: its last tenth is test, the tenth before it dev (each at least one tree, test
/// first), the rest train. UserError for an unknown spec or if a split that was asked for is empty,
/// and those of the format's reader.
Dataset load_dataset(std::string_view spec, const LoadOptions& options = {},
                     std::span<const Format> table = formats());

}  // namespace espalier::data
