// Helpers of the frontend's tests: numbers for params, and a body evaluated in double.
#pragma once

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "frontend/model.h"
#include "ir/record/recorder.h"
#include "ir/verify.h"
#include "tests/support/oracle.h"

namespace espalier::test {

/// Uniform numbers in ±range for every param, from the seed.
inline Oracle::Tensors random_params(const ir::Program& program, unsigned seed,
                                     double range = 0.8) {
  std::mt19937 generator(seed);
  Oracle::Tensors params;
  for (const ir::Param& param : program.params) {
    params.emplace_back();
    for (std::int64_t i = 0; i < param.shape.size(); ++i)
      params.back().push_back((static_cast<double>(generator()) / 4294967296.0 * 2 - 1) * range);
  }
  return params;
}

/// The text of the UserError that `run` throws; "" if it throws none.
template <class Run>
std::string user_error(Run run) {
  try {
    run();
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

/// A model whose only cell has no ports: params and one body.
struct Scratch : Model {
  Scratch() : Model("scratch") {}

  /// The numbers that `body` gives, where param i has the values `params[i]`.
  template <class Body>
  std::vector<double> evaluate(const Oracle::Tensors& params, const Body& body) {
    const auto made = cell("cell" + std::to_string(program().cells.size()), body);
    ir::verify(program());
    ir::Program copy = program();
    ir::Recorder recorder(copy);
    const Instances instances(recorder);
    instances(made);
    return Oracle(copy, params).forward(recorder.graph()).at(0).at(0);
  }
};

}  // namespace espalier::test
