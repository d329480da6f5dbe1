// What a run uses where the user says nothing: a recipe per data format, in one visible table, and
// one for all other formats. Read by flags, their help texts and run_config.
#pragma once

#include <fmt/format.h>

#include <span>
#include <string>
#include <string_view>

#include "app/run_config.h"

namespace espalier::app {

struct Recipe {
  std::string_view format;  ///< name of a row of data::formats()
  void (*set)(RunConfig& config);
};

/// The formats that have a recipe of their own.
std::span<const Recipe> recipes();

/// The defaults for such data and such a model. Formats that are not in recipes() get that of Tai
/// et al. 2015 for SST.
RunConfig recipe(std::string_view data, std::string_view model = default_model());

/// `150; listops 128, conllu 256`: what the recipes say, for help texts. `get` reads a RunConfig.
template <class Get>
std::string usual(Get get) {
  std::string text = fmt::format("{}", get(recipe("")));
  std::string_view separator = "; ";
  for (const Recipe& row : recipes()) {
    text += fmt::format("{}{} {}", separator, row.format, get(recipe(row.format)));
    separator = ", ";
  }
  return text;
}
template <class T>
std::string usual(T RunConfig::* member) {
  return fmt::format("[{}]", usual([=](const RunConfig& config) { return config.*member; }));
}

}  // namespace espalier::app
