// The two halves of a differentiated cell. The backward cell reads the forward cell's ports, its
// own outputs, kept residuals and the cotangents of its outputs; it gives the gradient of each
// child field and the contributions from which the weight gradients are formed once per step. Made
// by ir/passes/gradient.h.
#pragma once

#include <cstdint>
#include <vector>

#include "ir/program.h"

namespace espalier::ir {

/// The gradient of field `field` of Child or Children port `port`: output `output` of the backward
/// graph. Every field of every such port has one; constant zero where nothing flows.
struct ChildGradient {
  int port = 0, field = 0;
  NodeId output = -1;
};

/// How a param's gradient is formed over all instances of the cell (or over all children of a port,
/// where the values are per child; left and right are so together). Numbers lie in the order of the
/// param's, in whatever axes.
struct ParamContribution {
  enum class Kind : std::uint8_t {
    outer,  ///< Σ left ⊗ right, left [m] and right [k]: a matmul's weights; or [n, m] and [n, k]:
            ///< n such products a time
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

/// The two halves of a differentiated cell. `forward.outputs` holds the residuals behind the
/// fields of the state, in the order in which the backward graph's `residual` leaves count them.
struct Differentiated {
  Cell forward;
  BackwardCell backward;
};

}  // namespace espalier::ir
