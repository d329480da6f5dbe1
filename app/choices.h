// Choices of the command line: one table per choice, from the name that the user writes to the
// value that the engine takes. Flags, their help, config.json and reports read the same table.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"
#include "ir/record/recorder.h"
#include "models/tree_model.h"
#include "runtime/step/options.h"
#include "training/terminal.h"

namespace espalier::app {

template <class T>
struct Choice {
  std::string_view name;
  T value;
};

inline constexpr Choice<bool> switches[] = {{"on", true}, {"off", false}};
inline constexpr Choice<Device> devices[] = {
    {"cpu", Device::cpu}, {"cuda", Device::cuda}, {"auto", Device::automatic}};
inline constexpr Choice<ir::Granularity> granularities[] = {{"cell", ir::Granularity::cell},
                                                            {"op", ir::Granularity::op}};
inline constexpr Choice<Persistent> persistent_choices[] = {
    {"auto", Persistent::automatic}, {"on", Persistent::on}, {"off", Persistent::off}};
inline constexpr Choice<Contractions> contraction_choices[] = {{"auto", Contractions::automatic},
                                                               {"tile", Contractions::tile},
                                                               {"cublas", Contractions::cublas}};
inline constexpr Choice<Precision> precisions[] = {
    {"single", Precision::single}, {"tf32", Precision::tf32}, {"bf16", Precision::bf16}};
inline constexpr Choice<models::LabelsAt> label_places[] = {
    {"every-node", models::LabelsAt::every_node}, {"root", models::LabelsAt::root}};
inline constexpr Choice<data::Splits> splits[] = {{"train", data::Splits::train},
                                                  {"dev", data::Splits::dev},
                                                  {"test", data::Splits::test},
                                                  {"all", data::Splits::all_there_are}};
inline constexpr Choice<ColorChoice> colors[] = {{"auto", ColorChoice::automatic},
                                                 {"always", ColorChoice::always},
                                                 {"never", ColorChoice::never}};

/// The `name` of each row, in order; also of tables of models, strategies and the like.
template <class Table>
std::vector<std::string> names_of(const Table& table) {
  std::vector<std::string> names;
  for (const auto& row : table) names.emplace_back(row.name);
  return names;
}

/// `value` is in the table.
template <class Table, class T>
std::string_view name_of(const Table& table, const T& value) {
  return std::ranges::find_if(table, [&](const auto& row) { return row.value == value; })->name;
}

/// Null if no row has that name.
template <class T, std::size_t size>
const T* find_value(const Choice<T> (&table)[size], std::string_view name) {
  const auto found = std::ranges::find(table, name, &Choice<T>::name);
  return found == std::end(table) ? nullptr : &found->value;
}

}  // namespace espalier::app
