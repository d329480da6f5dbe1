// The arithmetic of a model: the floating-point operations of its contractions, counted from the
// cells as they were traced, so that what a compiler pads, joins, recomputes or shares does not
// matter. Used by measurements. A product and its sum count as two; element-wise ops do not count.
#pragma once

#include <vector>

#include "ir/record/instance_graph.h"

namespace espalier::bench {

struct Flops {
  double forward = 0;
  double input_gradients = 0;   ///< of contractions' operands that are not params alone
  double weight_gradients = 0;  ///< of those that are

  double training() const { return forward + input_gradients + weight_gradients; }
  Flops& operator+=(const Flops& other);
  bool operator==(const Flops&) const = default;
};

struct CellFlops {
  Flops instance;               ///< once an instance
  std::vector<Flops> children;  ///< [ports]: once for each element of a Children port
  double weight_bytes = 0;      ///< of what contractions read that is the same for all instances
};

/// A contraction of [m, k] and [k, n] takes 2mkn, and as much again for the gradient of each
/// operand that depends on a param or on another instance.
CellFlops count_flops(const ir::Cell& cell);

/// Counts over the instances of a program's cells.
class FlopCounter {
 public:
  explicit FlopCounter(const ir::Program& program);

  Flops instance(const ir::InstanceGraph& graph, ir::InstanceId id) const;
  /// Of all instances.
  Flops total(const ir::InstanceGraph& graph) const;
  const CellFlops& cell(ir::CellId id) const { return cells_[static_cast<std::size_t>(id)]; }

 private:
  std::vector<CellFlops> cells_;
  std::vector<std::vector<ir::PortKind>> ports_;  // [cell][port]
};

}  // namespace espalier::bench
