// W·x + U·h + … becomes one contraction [W U]·[x; h], so that a cell's gates are summed in one
// register tile. Runs on the graph as it was recorded, before slices move. The order of summation
// over k becomes x's elements, then h's. Tested by tests/ir/fuse_contractions_test.cpp.
#pragma once

#include "ir/program.h"

namespace espalier::ir {

Cell fuse_contractions(const Cell& cell);

}  // namespace espalier::ir
