// The small graph of which cell may feed which (by state), condensed into phases: the strongly
// connected components in topological order. Made once per program, read by strategies.
#pragma once

#include <vector>

#include "ir/program.h"

namespace espalier::scheduler {

struct CellGraph {
  struct CellInfo {
    int phase = 0;             ///< position of its component in topological order
    bool recurrent = false;    ///< lies on a cycle of cells
    bool reads_cells = false;  ///< has a Child or Children port
  };
  std::vector<CellInfo> cells;
  int phases = 0;
};

/// Cell a feeds cell b if b has a Child or Children port of a's state.
CellGraph cell_graph(const ir::Program& program);

}  // namespace espalier::scheduler
