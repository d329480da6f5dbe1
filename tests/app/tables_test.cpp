// The command offers exactly what the tables of data formats, models, strategies and optimizers
// hold, so that a row added to one of them needs no other change.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/formats.h"
#include "models/models.h"
#include "scheduler/strategy.h"
#include "tests/app/command.h"
#include "training/optimizer.h"
#include "training/update_rule.h"

namespace espalier::app {
namespace {

using Rows = std::vector<std::pair<std::string, std::string>>;  // name, summary

template <class Table>
Rows rows_of(const Table& table) {
  Rows rows;
  for (const auto& row : table) rows.emplace_back(row.name, row.summary);
  return rows;
}

Rows format_rows() {
  Rows rows;
  for (const data::Format& format : data::formats())
    rows.emplace_back(format.form(), format.summary);
  return rows;
}

std::string names(const Rows& rows) {
  std::string text;
  for (const auto& [name, summary] : rows) text += (text.empty() ? "" : ", ") + name;
  return text;
}

void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "no '" << part << "' in:\n" << text;
}

TEST(Tables, HelpListsExactlyTheirRows) {
  const std::string help = run({"train", "--help"}).out;
  expect_contains(help, "the model: " + names(rows_of(models::models())) + " [");
  expect_contains(help, "batches: " + names(rows_of(scheduler::strategies())) + " [");
  expect_contains(help, "the optimizer: " + names(rows_of(optimizers())) + " [");
  std::string data = "--data DATA";
  for (const auto& [form, summary] : format_rows()) {
    const std::size_t line = help.find(form + ": " + summary + "\n");
    ASSERT_NE(line, std::string::npos) << form << " in:\n" << help;
    const std::size_t before = help.rfind(data, line);
    ASSERT_NE(before, std::string::npos);
    const std::string between = help.substr(before + data.size(), line - before - data.size());
    EXPECT_EQ(between.find_first_not_of(" \n"), std::string::npos) << between;
    data = summary;
  }
}

TEST(Tables, InfoListsExactlyTheirRows) {
  const std::string info = run({"info"}).out;
  std::string expected;
  for (const auto& [title, rows] : {std::pair{"data", format_rows()},
                                    {"models", rows_of(models::models())},
                                    {"strategies", rows_of(scheduler::strategies())},
                                    {"optimizers", rows_of(optimizers())}}) {
    expected += fmt::format("{}\n", title);
    for (const auto& [name, summary] : rows)
      expected += fmt::format("  {:<20} {}\n", name, summary);
  }
  EXPECT_TRUE(info.ends_with(expected)) << info;
}

TEST(Tables, EveryFormatReachesItsReader) {
  for (const data::Format& format : data::formats()) {
    if (format.generated()) continue;
    const Output output = run({"schedule", "--data", fmt::format("{}:/none", format.name),
                               "--model", "child_sum_tree_lstm"});
    EXPECT_EQ(output.status, 1) << format.form();
    expect_contains(output.err, "error: /none: ");
  }
}

}  // namespace
}  // namespace espalier::app
