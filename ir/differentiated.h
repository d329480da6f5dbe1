// The two halves of a differentiated cell. The backward cell reads the ports, outputs and residuals
// of the forward cell and the cotangents of its outputs. It computes the gradient of each child
// field, and the contributions from which weight gradients are summed once per step. Made by
// ir/passes/gradient.h.
#pragma once

#include <cstdint>
#include <vector>

#include "ir/program.h"

namespace espalier::ir {

/// The gradient of field `field` of Child or Children port `port`, at node `output` of the backward
/// graph. Every field of every such port has one; it is a constant 0 where no gradient flows.
struct ChildGradient {
  int port = 0, field = 0;
  NodeId output = -1;
};

/// How a param's gradient is summed over all instances of the cell, or over all children of a port
/// if `left` and `right` are per child. Numbers are in the param's order; axes may differ.
struct ParamContribution {
  enum class Kind : std::uint8_t {
    outer,  ///< Σ left ⊗ right, the weights of a matmul: left [m] and right [k], or left [n, m]
            ///< and right [n, k] for n outer products per instance
    sum,    ///< Σ left, of the param's size: a bias
    rows,   ///< left, added to row `index` of the param: an embedding
  };
  ParamId param = -1;
  Kind kind = Kind::sum;
  NodeId left = -1;
  NodeId right = -1;    ///< outer
  int index_port = -1;  ///< rows
};

struct BackwardCell {
  Graph graph;
  std::vector<ChildGradient> child_gradients;
  std::vector<ParamContribution> contributions;
};

/// Both halves. After the fields of the state, `forward.outputs` has the residuals, in the order in
/// which the backward graph's `residual` leaves are numbered.
struct Differentiated {
  Cell forward;
  BackwardCell backward;
};

}  // namespace espalier::ir
