// A number that tells a cell from others that have its place in other programs. Kept by handles of
// cells (frontend/cell.h) and compared by the recorder at each call, so that a handle of another
// model is refused. Equal cells have equal marks, whichever program they are in.
// Tested by tests/frontend/recorder_test.cpp.
#pragma once

#include <cstdint>

#include "ir/program.h"

namespace espalier::ir {

/// Never 0. Two different cells have the same mark once in four billion times: it guards against
/// mistakes and stands for nothing else.
std::uint32_t cell_mark(const Program& program, const Cell& cell);

}  // namespace espalier::ir
