// The gradient of a cell, graph to graph.
#pragma once

#include <vector>

#include "ir/differentiated.h"
#include "ir/program.h"

namespace espalier::ir {

/// Differentiates a simplified cell of `program`. A value that the backward pass needs is read if
/// it is a port, param, output or kept already, recomputed if only element-wise and movement ops
/// lie between it and such values, and else becomes a residual. Through an op without gradient
/// nothing flows.
Differentiated differentiate(const Program& program, const Cell& cell);

/// For each param, whether a gradient reaches it: whether some cell contributes to it.
std::vector<bool> reached_params(const Program& program);

}  // namespace espalier::ir
