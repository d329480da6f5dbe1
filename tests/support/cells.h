// One instance of a cell in double: what it reads, and what its graph or its backward graph gives.
// Masks of dropout come from a fixed pattern of their number unless the inputs say otherwise.
#pragma once

#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "ir/evaluate.h"
#include "ir/passes/gradient.h"
#include "ir/program.h"
#include "tests/support/random.h"

namespace espalier::test {

struct CellInputs {
  std::vector<int> children;  ///< number of elements per port; 0 unless it is a Children port
  std::map<std::pair<int, int>, std::vector<double>> ports;  ///< by port and field
  std::vector<std::vector<double>> params;
  /// If given: the uniform number of an element of a dropout mask, of child `child` if it has one.
  std::function<double(int mask, int child, std::int64_t position)> uniform = {};
};

/// Indices below `index_bound`, numbers in −range … range.
CellInputs random_inputs(const ir::Program& program, const ir::Cell& cell, Random& random,
                         int index_bound = 3, int children = 2, double range = 1);

/// What the leaves of a cell's graph read.
ir::LeafData leaves(const CellInputs& inputs);

/// The values of all nodes of a cell's graph.
std::vector<ir::Array> evaluate(const ir::Graph& graph, const CellInputs& inputs);

/// The values of a cell's outputs.
std::vector<std::vector<double>> outputs(const ir::Cell& cell, const CellInputs& inputs);

/// Gradients of Σ cotangent · output by each child field and each param.
struct Gradients {
  std::map<std::pair<int, int>, std::vector<double>> ports;
  std::vector<std::vector<double>> params;
};
Gradients backward(const ir::Program& program, const ir::Differentiated& cell,
                   const CellInputs& inputs, const std::vector<std::vector<double>>& cotangents);

/// Simplifies and differentiates the cell, verifies all that comes out, and compares the gradients
/// of a random weighting of its outputs with central differences of the cell as it is. Coordinates
/// at a kink are left out, up to `kinks` of all. A failure prints the program.
void check_gradients(const ir::Program& program, const ir::Cell& cell, const CellInputs& inputs,
                     Random& random, double kinks = 0);

}  // namespace espalier::test
