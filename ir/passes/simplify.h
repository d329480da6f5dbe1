// Cells rebuilt through the identities of ir/identities.h. Tested by tests/ir/simplify_test.cpp.
#pragma once

#include "ir/program.h"

namespace espalier::ir {

/// The cell rebuilt through the identities, without dead nodes. Idempotent.
Cell simplify(const Cell& cell);

/// Whether training draws a dropout mask in the cell.
bool has_dropout(const Cell& cell);

/// The cell with each dropout mask replaced by ones: what inference runs.
Cell without_dropout(const Cell& cell);

/// `cell` for running forward only, where stopping gradients means nothing and would be a copy.
Cell without_stop_gradients(const Cell& cell);

}  // namespace espalier::ir
