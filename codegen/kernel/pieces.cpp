#include "codegen/kernel/pieces.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "ir/op.h"

namespace espalier::codegen {
namespace {

using ir::Graph;
using ir::Node;
using ir::NodeId;
using ir::OpId;
using Pieces = std::optional<std::vector<Piece>>;

/// Elements [begin, begin + length) of what the pieces hold.
std::vector<Piece> cut(const std::vector<Piece>& whole, std::int64_t begin, std::int64_t length) {
  std::vector<Piece> result;
  std::int64_t position = 0;
  for (Piece piece : whole) {
    const std::int64_t low = std::max(begin, position);
    const std::int64_t high = std::min(begin + length, position + piece.length);
    piece.begin += low - position;
    position += piece.length;
    piece.length = high - low;
    if (low < high) result.push_back(piece);
  }
  return result;
}

/// Whether parts along `axis` of a value of that shape lie one behind the other in C order.
bool outermost(const ir::Shape& shape, int axis) {
  for (int before = 0; before < axis; ++before)
    if (shape[before] != 1) return false;
  return true;
}

/// Where a view looks.
Pieces source(const Graph& graph, const StagePlan& plan, NodeId id) {
  const Node& node = graph[id];
  const Pieces row{{{id, 0, node.type.shape.size()}}};
  switch (node.op->id) {
    case OpId::residual:
    case OpId::output:
    case OpId::cotangent:
      return row;
    case OpId::port:
      return node.type.dtype == ir::DType::f32 ? row : std::nullopt;
    case OpId::row: {
      const bool of_param = graph[node.operands[0]].op->id == OpId::param;
      return of_param && ir::index_port(graph, node.operands[1]) >= 0 ? row : std::nullopt;
    }
    case OpId::reshape:
      return pieces(graph, plan, node.operands[0]);
    case OpId::per_child: {
      Pieces result = pieces(graph, plan, node.operands[0]);
      if (result)
        for (Piece& piece : *result) piece.of_owner = true;
      return result;
    }
    case OpId::slice: {
      const auto [axis, begin] = node.attributes.ints;
      const ir::Shape& from = graph[node.operands[0]].type.shape;
      if (!outermost(from, axis)) return std::nullopt;
      const Pieces whole = pieces(graph, plan, node.operands[0]);
      if (!whole) return std::nullopt;
      return cut(*whole, begin * (from.size() / from[axis]), node.type.shape.size());
    }
    default:
      return std::nullopt;
  }
}

/// The parts of a concat that is not stored itself.
Pieces parts(const Graph& graph, const StagePlan& plan, const Node& concat) {
  if (!outermost(concat.type.shape, concat.attributes.ints[0])) return std::nullopt;
  std::vector<Piece> all;
  for (NodeId part : concat.operands) {
    const Pieces more = pieces(graph, plan, part);
    if (!more) return std::nullopt;
    all.insert(all.end(), more->begin(), more->end());
  }
  return all;
}

}  // namespace

Pieces pieces(const Graph& graph, const StagePlan& plan, NodeId id) {
  const Node& node = graph[id];
  const std::vector<Piece> stored{
      {.node = id, .begin = 0, .length = node.type.shape.size(), .stored = true}};
  switch (plan.treatment[id]) {
    case Treatment::computed:
    case Treatment::tile:
      return stored;
    case Treatment::inlined:
      return std::nullopt;
    case Treatment::assembled:
      if (plan.stored[id]) return stored;
      return parts(graph, plan, node);
    case Treatment::view:
      break;
  }
  if (Pieces found = source(graph, plan, id)) return found;
  if (plan.stored[id]) return stored;
  return std::nullopt;
}

StagePlan leaves_only(const Graph& graph) {
  const auto size = std::size_t(graph.size());
  StagePlan plan{std::vector(size, Treatment::inlined),
                 std::vector(size, -1),
                 std::vector(size, false),
                 std::vector(size, false),
                 std::vector(size, 1),
                 {}};
  for (NodeId id = 0; id < graph.size(); ++id) {
    const ir::OpClass kind = graph[id].op->kind;
    if (graph[id].op->assembles)
      plan.treatment[id] = Treatment::assembled;
    else if (kind == ir::OpClass::leaf || kind == ir::OpClass::movement)
      plan.treatment[id] = Treatment::view;
  }
  return plan;
}

}  // namespace espalier::codegen
