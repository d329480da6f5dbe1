// The gradient of a cell, graph to graph.
#pragma once

#include <cstdint>
#include <vector>

#include "ir/differentiated.h"
#include "ir/program.h"

namespace espalier::ir {

/// Differentiates a simplified cell of `program`. A value that the backward pass needs is read if
/// it is a port, param, output or kept already, recomputed if only element-wise and movement ops
/// lie between it and such values, and else becomes a residual. Through an op without gradient
/// nothing flows.
Differentiated differentiate(const Program& program, const Cell& cell);

/// How gradients reach a param from the cells of a program.
enum class Reach : std::uint8_t {
  none,
  rows,  ///< all of them are gradients of rows that Index ports chose
  whole,
};
/// For each param, how gradients reach it.
std::vector<Reach> reached_params(const Program& program);

}  // namespace espalier::ir
