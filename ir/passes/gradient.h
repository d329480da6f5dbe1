// The gradient of a cell, graph to graph.
#pragma once

#include <cstdint>
#include <vector>

#include "ir/differentiated.h"
#include "ir/program.h"

namespace espalier::ir {

/// Differentiates a simplified cell of `program`. A forward value that the backward cell needs is
/// read if it is a port, a param, an output or a residual already. It is recomputed if it follows
/// from such values by element-wise and movement ops alone. Otherwise it becomes a residual. No
/// gradient flows through an op without a gradient rule.
Differentiated differentiate(const Program& program, const Cell& cell);

/// Which gradients a param gets from the cells of a program.
enum class Reach : std::uint8_t {
  none,
  rows,   ///< only gradients of rows chosen by Index ports
  whole,  ///< at least one gradient of the whole param
};
/// By param.
std::vector<Reach> reached_params(const Program& program);

}  // namespace espalier::ir
