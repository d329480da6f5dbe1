// The body of a random cell: what tests/support/random_programs.h fills its cells with.
#pragma once

#include <vector>

#include "ir/program.h"
#include "tests/support/random.h"

namespace espalier::test {

/// Values have at most so many elements.
inline constexpr int max_random_elements = 128;

struct BodyOptions {
  std::vector<int> extents;  ///< of which shapes are made; the first is the usual one
  int ops = 12;              ///< about
  bool withheld_gradients = true;
};

/// How a body was written, call by call, with composite ops as they were asked for.
struct BodyScript {
  struct Line {
    const ir::Op* op = nullptr;
    std::vector<int> operands;  ///< lines
    ir::Attributes attributes;
    ir::Type type;  ///< of the result
  };
  std::vector<Line> lines;
  std::vector<int> outputs;  ///< lines
};

/// Fills in the graph and the outputs of a cell that has its ports and its state; adds params to
/// the program.
BodyScript write_random_body(ir::Program& program, ir::Cell& cell, Random& random,
                             const BodyOptions& options);

}  // namespace espalier::test
