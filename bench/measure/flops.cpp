#include "bench/measure/flops.h"

#include <algorithm>

#include "ir/op.h"

namespace espalier::bench {

using namespace ir;
namespace {

/// Operations of a contraction: one a product, and one more where products are summed.
double contraction_flops(const Graph& graph, const Node& node) {
  double flops = static_cast<double>(node.type.shape.size());
  if (node.op->meeting == 0) return flops;
  const Shape& left = graph[node.operands[0]].type.shape;
  for (int i = 0; i < node.op->meeting; ++i) flops *= left[left.rank() - 1 - i];
  return 2 * flops;
}

/// Which nodes a gradient flows to: those that depend on a param or on what an instance gave.
std::vector<bool> differentiable(const Graph& graph) {
  std::vector<bool> flows(static_cast<std::size_t>(graph.size()));
  for (NodeId id = 0; id < graph.size(); ++id) {
    const Node& node = graph[id];
    const bool source = node.op->id == ir::OpId::param || node.op->id == ir::OpId::port;
    flows[static_cast<std::size_t>(id)] =
        node.type.dtype == DType::f32 &&
        (source || std::ranges::any_of(node.operands, [&](NodeId operand) {
           return flows[static_cast<std::size_t>(operand)];
         }));
  }
  return flows;
}

}  // namespace

Flops& Flops::operator+=(const Flops& other) {
  forward += other.forward;
  input_gradients += other.input_gradients;
  weight_gradients += other.weight_gradients;
  return *this;
}

CellFlops count_flops(const Cell& cell) {
  CellFlops result;
  result.children.resize(cell.ports.size());
  const std::vector<bool> flows = differentiable(cell.graph);
  for (const Node& node : cell.graph.nodes()) {
    if (node.op->kind != OpClass::contraction) continue;
    const std::int8_t port = node.type.children;
    Flops& to =
        port == per_instance ? result.instance : result.children[static_cast<std::size_t>(port)];
    const double flops = contraction_flops(cell.graph, node);
    to.forward += flops;
    for (const NodeId operand : node.operands) {
      const bool weights = is_shared(cell.graph, operand);
      if (weights)
        result.weight_bytes += 4.0 * static_cast<double>(cell.graph[operand].type.shape.size());
      if (flows[static_cast<std::size_t>(operand)])
        (weights ? to.weight_gradients : to.input_gradients) += flops;
    }
  }
  return result;
}

FlopCounter::FlopCounter(const Program& program) {
  for (const Cell& cell : program.cells) {
    cells_.push_back(count_flops(cell));
    ports_.emplace_back();
    for (const Port& port : cell.ports) ports_.back().push_back(port.kind);
  }
}

Flops FlopCounter::instance(const InstanceGraph& graph, InstanceId id) const {
  const auto which = static_cast<std::size_t>(graph.cell(id));
  const CellFlops& cell = cells_[which];
  Flops sum = cell.instance;
  const std::vector<PortKind>& ports = ports_[which];
  std::size_t index = 0;  // of a Children port: how many there are
  for (std::size_t port = 0; port < ports.size(); ++port) {
    if (ports[port] == PortKind::child) continue;
    const std::int32_t count = graph.indices(id)[index++];
    if (ports[port] != PortKind::children) continue;
    const Flops& child = cell.children[port];
    sum += {count * child.forward, count * child.input_gradients, count * child.weight_gradients};
  }
  return sum;
}

Flops FlopCounter::total(const InstanceGraph& graph) const {
  Flops sum;
  for (std::size_t i = 0; i < graph.size(); ++i) sum += instance(graph, static_cast<InstanceId>(i));
  return sum;
}

}  // namespace espalier::bench
