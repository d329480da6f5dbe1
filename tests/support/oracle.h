// The oracle: a program's instance graph evaluated in double, one instance after the other, with no
// batching and none of the engine. Consumed by tests only; what the engine computes must agree with
// it within rounding, whatever the strategy or granularity.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <vector>

#include "ir/evaluate.h"
#include "ir/passes/gradient.h"
#include "ir/program.h"
#include "ir/record/instance_graph.h"

namespace espalier::test {

class Oracle {
 public:
  using Tensor = std::vector<double>;   ///< elements in C order
  using Tensors = std::vector<Tensor>;  ///< by param, or by field
  /// The multiplier at `position` of mask `mask` of a cell, dropped with probability `probability`.
  /// `stream.element` is that of the value's child, if it has one.
  using Mask = std::function<double(const ir::InstanceGraph::Stream& stream, int mask,
                                    double probability, std::int64_t position)>;

  /// `params` are those of the program, in its order. Without `mask` nothing is dropped. The
  /// program outlives the oracle and may grow.
  Oracle(const ir::Program& program, Tensors params, Mask mask = {});

  /// From here on values carry the rounding errors of single precision, drawn by `salt` as in
  /// tests/support/rounding.h; 0: none.
  void set_salt(std::uint64_t salt) { salt_ = salt; }

  /// The fields of every instance's state, in order of the instances.
  std::vector<Tensors> forward(const ir::InstanceGraph& graph) const;

  /// `scale` × the sum of the (scalar) outputs of `losses`.
  double loss(const ir::InstanceGraph& graph, std::span<const ir::InstanceId> losses,
              double scale = 1) const;

  /// The gradient of `loss` by every param, through the backward cells of ir/passes/gradient.h. To
  /// `sizes`, if given, goes the sum of the sizes of each element's terms.
  Tensors gradients(const ir::InstanceGraph& graph, std::span<const ir::InstanceId> losses,
                    double scale = 1, Tensors* sizes = nullptr);

 private:
  class Reader;
  std::vector<ir::Array> evaluate(const ir::Graph& graph, const Reader& reader) const;
  const ir::Differentiated& differentiated(ir::CellId cell);

  const ir::Program& program_;
  Tensors params_;
  Mask mask_;
  std::uint64_t salt_ = 0;
  std::map<ir::CellId, ir::Differentiated> differentiated_;
};

}  // namespace espalier::test
