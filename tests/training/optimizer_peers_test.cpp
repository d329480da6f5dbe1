// Three steps of the binary Tree-LSTM on SST with each optimizer, against PyTorch's: gradients come
// from the plain-loop reference in double, updates are the library's in float.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "tests/support/real_data.h"
#include "tests/support/reference.h"
#include "tests/support/reference_examples.h"
#include "tests/training/golden_steps.h"
#include "training/optimizer.h"
#include "training/update_rule.h"

namespace espalier {
namespace {

using test::Weights;

test::ReferenceMean mean_over(const std::vector<test::ReferenceTree>& trees,
                              const Weights& weights) {
  test::ReferenceParams params;
  for (const auto& [name, values] : weights) params[name].assign(values.begin(), values.end());
  std::vector<test::ReferenceResult> results;
  for (const test::ReferenceTree& tree : trees)
    results.push_back(test::reference_tree_lstm(params, tree));
  return test::reference_mean(results);
}

/// The embedding as rows, as the engine hands it over; all else as one range.
void step(StandardOptimizer& optimizer, Weights& weights, const test::ReferenceMean& mean,
          std::size_t embed) {
  std::vector<StoredParam> params;
  for (const auto& [name, values] : weights)
    params.push_back({.name = name, .shape = {}, .size = values.size()});
  optimizer.prepare(params);
  optimizer.begin_step({.norm = mean.gradient_norm()});
  ir::ParamId id = 0;
  for (auto& [name, values] : weights) {
    const std::vector<double>& exact = mean.gradient.at(name);
    const std::vector<float> gradient(exact.begin(), exact.end());
    if (name != "embed") {
      optimizer.update(id++, 0, values, gradient);
      continue;
    }
    std::vector<std::int32_t> rows;
    std::vector<float> row_gradients;
    for (std::size_t row = 0; row * embed < gradient.size(); ++row) {
      const auto values_of_row = std::span(gradient).subspan(row * embed, embed);
      if (std::ranges::all_of(values_of_row, [](float g) { return g == 0; })) continue;
      rows.push_back(static_cast<std::int32_t>(row));
      row_gradients.insert(row_gradients.end(), values_of_row.begin(), values_of_row.end());
    }
    optimizer.update_rows(id++, 0, embed, values, rows, row_gradients);
  }
}

TEST(OptimizerEqualsPytorch, ThreeStepsOfEachOnSst) {
  const auto data = test::real_data();
  if (!data) GTEST_SKIP() << "real data absent";
  const test::GoldenSteps golden;
  const auto bank = test::read_brackets(*data / "sst" / "train.txt", golden.setup.at("trees"));

  for (const OptimizerInfo& info : optimizers()) {
    const std::string kind(info.name);
    SCOPED_TRACE(kind);
    const nlohmann::json& expected = golden.run(kind);
    StandardOptimizer optimizer(test::golden_options(kind));
    Weights weights = golden.initial();
    for (const nlohmann::json& expected_step : expected.at("steps")) {
      const test::ReferenceMean mean = mean_over(bank.trees, weights);
      test::expect_close(mean.loss, expected_step.at("loss"));
      test::expect_close(mean.gradient_norm(), expected_step.at("gradient_norm"));
      step(optimizer, weights, mean, golden.setup.at("embed"));
    }
    test::expect_close(mean_over(bank.trees, weights).loss, expected.at("loss_after"));
    test::expect_weights(weights, golden.initial(), expected);
  }
}

}  // namespace
}  // namespace espalier
