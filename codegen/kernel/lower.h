// Lowering: a cell graph with roles for its outputs becomes a Kernel. Shared by all targets; the
// target only decides tile shapes. The three kernels of a cell are made here: forward, backward and
// weight gradients.
#pragma once

#include <string>
#include <vector>

#include "codegen/kernel/kernel.h"
#include "codegen/kernel/target.h"
#include "ir/access.h"
#include "ir/passes/gradient.h"
#include "ir/program.h"

namespace espalier::codegen {

/// A value that the kernel stores.
struct Output {
  ir::NodeId node = -1;
  BufferRole role = BufferRole::own_field;
  int a = 0, b = 0;
};

struct LowerInput {
  std::string name;
  const std::vector<ir::Port>& ports;
  const ir::Graph& graph;
  std::vector<Output> outputs;
  std::vector<ir::Access> accesses;  ///< per port; Children ports are always gathered
};

Kernel lower(const LowerInput& input, const Target& target);

/// The forward kernel. Outputs of `cell` behind the fields of its state are residuals.
Kernel lower_forward(const ir::Program& program, const ir::Cell& cell,
                     const std::vector<ir::Access>& accesses, const Target& target);

/// What a backward kernel keeps for the weight gradients.
struct BackwardStorage {
  /// Nodes of the backward graph stored as contributions 0, 1, …
  std::vector<ir::NodeId> stored;
  /// The contribution that holds the node, or -1.
  int contribution(ir::NodeId node) const;
};
BackwardStorage backward_storage(const ir::BackwardCell& backward);

/// The backward kernel: gradients of the children and the contributions.
Kernel lower_backward(const ir::Cell& cell, const ir::BackwardCell& backward,
                      const std::vector<ir::Access>& accesses, const Target& target);

/// One deferred kernel over all instances of a cell: outer and sum contributions, each stored into
/// its param's gradient or, if `accumulates[i]` for contribution i, added to it. Contributions of
/// kind `rows` are the runtime's.
Kernel lower_weight_gradient(const ir::Cell& cell, const ir::BackwardCell& backward,
                             const std::vector<bool>& accumulates);

}  // namespace espalier::codegen
