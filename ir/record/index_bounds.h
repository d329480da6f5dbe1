// How large an index may be: a cell's Index ports choose rows of tensors whose extents are known
// when the cell is traced. Read by the recorder, which checks every index of every call.
// Tested by tests/frontend/recorder_test.cpp.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ir/program.h"

namespace espalier::ir {

struct IndexBound {
  std::uint32_t rows = UINT32_MAX / 2 + 1;  ///< an index is less; 2^31 where nothing is known
  std::string of;                           ///< what has the rows, e.g. "param 'embed'"
};

/// The bound of each Index port of `cell`, in port order: the least extent of a tensor of which it
/// chooses a row, or of a one-hot vector.
std::vector<IndexBound> index_bounds(const Program& program, const Cell& cell);

}  // namespace espalier::ir
