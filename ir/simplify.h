// Local identities, applied to each node as it is built and, by the pass, to a whole cell: constant
// folding, neutral and absorbing elements, movements that cancel, slices moved toward the leaves so
// that gates of one contraction meet in one loop. Numbers change by no rounding except that x * 0
// becomes 0. Tested by tests/ir/simplify_test.cpp.
#pragma once

#include <span>

#include "ir/graph.h"
#include "ir/program.h"

namespace espalier::ir {

/// A simpler value equal to `op(operands)` of type `type`, or an empty Value.
Value simplify(GraphBuilder& builder, const Op& op, std::span<const Value> operands,
               const Attributes& attributes, const Type& type);

/// The cell rebuilt through the identities, without dead nodes. Idempotent.
Cell simplify(const Cell& cell);

/// Whether training draws a dropout mask in the cell.
bool has_dropout(const Cell& cell);

/// The cell with each dropout mask replaced by ones: what inference runs.
Cell without_dropout(const Cell& cell);

/// `cell` for running forward only, where stopping gradients means nothing and would be a copy.
Cell without_stop_gradients(const Cell& cell);

}  // namespace espalier::ir
