// Lowering: a cell graph whose outputs have roles becomes a Kernel. Shared by all targets; the
// target only decides tile shapes. Makes the three kernels of a cell: forward, backward and weight
// gradients. Operands are read as gathered rows, so one kernel serves any batch of the cell.
#pragma once

#include <string>
#include <vector>

#include "codegen/kernel/kernel.h"
#include "codegen/kernel/target.h"
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
};

Kernel lower(const LowerInput& input, const Target& target);

/// The forward kernel. Outputs of `cell` behind the fields of its state are residuals.
Kernel lower_forward(const ir::Program& program, const ir::Cell& cell, const Target& target);

/// What a backward kernel keeps for the weight gradients.
struct BackwardStorage {
  /// Nodes of the backward graph stored as contributions 0, 1, …
  std::vector<ir::NodeId> stored;
  /// The contribution that holds the node, or -1.
  int contribution(ir::NodeId node) const;
};
BackwardStorage backward_storage(const ir::BackwardCell& backward);

/// The backward kernel: gradients of the children and the contributions.
Kernel lower_backward(const ir::Cell& cell, const ir::BackwardCell& backward, const Target& target);

/// One kernel over all instances of a cell, run once a step. Contribution i of kind `outer` or
/// `sum` is stored into its param's gradient, or added to it if `accumulates[i]`. The runtime
/// handles contributions of kind `rows`.
Kernel lower_weight_gradient(const ir::Cell& cell, const ir::BackwardCell& backward,
                             const std::vector<bool>& accumulates);

}  // namespace espalier::codegen
