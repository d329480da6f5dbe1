// What an engine has computed, compared with the oracle in double.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "ir/record/recorder.h"
#include "runtime/engine.h"
#include "tests/support/oracle_check.h"

namespace espalier::test {

/// The engine's last gradients and `loss` against the same calls evaluated in double.
template <class Record>
void expect_equals_oracle(const Engine& engine, double loss, const Record& record,
                          double examples) {
  ir::Program program = engine.program();
  Oracle::Tensors params;
  for (const ir::Param& param : program.params) {
    const auto values = engine.param(param.name);
    params.emplace_back(values.begin(), values.end());
  }
  Oracle oracle(program, params);
  ir::Recorder recorder(program);
  record(Instances(recorder));
  const double expected = oracle.loss(recorder.graph(), recorder.losses(), 1 / examples);
  double size = 0;  // of what is summed, which may cancel
  for (const ir::InstanceId& one : recorder.losses())
    size += std::abs(oracle.loss(recorder.graph(), {&one, 1}, 1 / examples));
  EXPECT_NEAR(loss, expected, 64 * 0x1p-24 * size);
  const Oracle::Tensors gradients =
      oracle.gradients(recorder.graph(), recorder.losses(), 1 / examples);
  for (std::size_t p = 0; p < gradients.size(); ++p) {
    const std::vector<float> actual = engine.gradient(program.params[p].name);
    double largest = 1e-3;
    for (double x : gradients[p]) largest = std::max(largest, std::abs(x));
    ASSERT_EQ(actual.size(), gradients[p].size());
    for (std::size_t i = 0; i < gradients[p].size(); ++i)
      EXPECT_NEAR(actual[i], gradients[p][i], 256 * 0x1p-24 * largest)
          << program.params[p].name << " at " << i;
  }
}

/// The same of random programs, in which errors grow as they like.
template <class Record>
void expect_within_roundings(const Engine& engine, double loss, const Record& record,
                             double examples) {
  Oracle::Tensors params;
  OracleCheck::Floats gradients;
  for (const ir::Param& param : engine.program().params) {
    const auto values = engine.param(param.name);
    params.emplace_back(values.begin(), values.end());
    gradients.push_back(engine.gradient(param.name));
  }
  OracleCheck oracle(engine.program(), params, engine.options().seed, 1 / examples, record);
  EXPECT_EQ(oracle.loss(loss), "");
  EXPECT_EQ(oracle.gradients(gradients), "");
}

}  // namespace espalier::test
