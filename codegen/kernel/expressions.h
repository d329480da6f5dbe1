// The second half of lowering: expressions for the values of a cell graph at a coordinate, and
// addresses of what lies in memory. Internal to lowering.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "codegen/kernel/kernel.h"
#include "codegen/kernel/lower.h"
#include "codegen/kernel/stage_plan.h"
#include "ir/op.h"

namespace espalier::codegen {

/// Which row a value is wanted for.
struct RowContext {
  RowDomain rows = RowDomain::instances;
  int port = -1;
  ExprId row = -1;
};

/// A place in a buffer for a value of some shape: rows of `shape`, the value at `offset` in it.
struct Place {
  BufferId buffer = -1;
  ir::Shape shape;
  std::array<std::int64_t, ir::Shape::max_rank> offset{};
};

/// Consecutive elements of a vector in memory, for row pointers.
struct Segment {
  BufferId buffer = -1;
  ExprId address = -1;  ///< of the first element
  std::int64_t length = 0;
};

class Expressions {
 public:
  /// `deferred`: the kernel runs after all batches, so own outputs are found by their state row.
  Expressions(const LowerInput& input, const StagePlan& plan, KernelBuilder& builder,
              bool deferred = false)
      : input_(input), graph_(input.graph), plan_(plan), builder_(builder), deferred_(deferred) {}

  /// Begins a stage: values computed in it are expressions at `coordinates`, others are loads.
  void enter(int stage, const RowContext& rows, std::span<const ExprId> coordinates);

  /// The value of a node at a coordinate.
  ExprId value(ir::NodeId id, const RowContext& rows, std::span<const ExprId> coordinates);

  /// The memory of a piece, for the row that reads it.
  Segment segment(const Piece& piece, const RowContext& reader);

  /// Adds a place where the node's value is to be stored; the first is where it is loaded from.
  void add_place(ir::NodeId id, const Place& place) { places_[id].push_back(place); }
  const std::vector<Place>& places(ir::NodeId id) { return places_[id]; }
  /// The first place in which the value lies in one piece, or null.
  const Place* whole_place(ir::NodeId id);
  Place place_of(const Output& output);
  ExprId address(const Place& place, const RowContext& rows, std::span<const ExprId> coordinates);

  BufferId buffer(BufferRole role, int a, int b = 0, std::int64_t elements = 0,
                  std::int8_t children = ir::per_instance) {
    return builder_.buffer({role, a, b, elements, children});
  }

 private:
  ExprId compute(ir::NodeId id, const RowContext& rows, std::span<const ExprId> coordinates);
  /// The row of numbers that a leaf reads, if it reads one.
  struct LeafRow {
    BufferId buffer = -1;
    ExprId row = -1;
    std::int64_t stride = 0;
  };
  std::optional<LeafRow> leaf_row(const ir::Node& node, const RowContext& rows);
  ExprId leaf(const ir::Node& node, const RowContext& rows, std::span<const ExprId> coordinates);
  ExprId reduction(const ir::Node& node, const RowContext& rows,
                   std::span<const ExprId> coordinates);
  ExprId contraction(const ir::Node& node, const RowContext& rows,
                     std::span<const ExprId> coordinates);
  ExprId movement(const ir::Node& node, const RowContext& rows,
                  std::span<const ExprId> coordinates);
  ExprId load(const Place& place, const RowContext& rows, std::span<const ExprId> coordinates) {
    return builder_.load(place.buffer, address(place, rows, coordinates));
  }
  ExprId flat(const ir::Shape& shape, std::span<const ExprId> coordinates);
  /// Row of the state that port `port` reads.
  ExprId state_row(int port, const RowContext& rows);
  ExprId own_row(const RowContext& rows);
  ExprId index_value(ir::NodeId id, const RowContext& rows);
  RowContext owner(const RowContext& rows);
  ExprId dropout_mask(const ir::Node& node, const RowContext& rows,
                      std::span<const ExprId> coordinates);

  const LowerInput& input_;
  const ir::Graph& graph_;
  const StagePlan& plan_;
  KernelBuilder& builder_;
  bool deferred_;
  std::map<ir::NodeId, std::vector<Place>> places_;

  int stage_ = -1;
  RowContext stage_rows_;
  std::vector<ExprId> stage_coordinates_;
  std::map<ir::NodeId, ExprId> computed_;  // in this stage, at its coordinate
};

}  // namespace espalier::codegen
