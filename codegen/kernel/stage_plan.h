// The first half of lowering: which node of a cell graph is computed in which stage. A node is a
// view (an address), inlined into the one reduction that reads it, or computed in exactly one stage
// over its own domain. Stages pass values through memory. Used by lower.cpp.
#pragma once

#include <vector>

#include "codegen/kernel/kernel.h"
#include "codegen/kernel/target.h"

namespace espalier::codegen {

enum class Treatment : std::uint8_t {
  view,       ///< leaves and movements: an address, evaluated where it is read
  inlined,    ///< evaluated inside the only reduction that reads it
  computed,   ///< element-wise, reduction, plain contraction or the end of many views: one stage
  tile,       ///< contraction of shared weights with a vector: a stage of its own
  assembled,  ///< concat: its operands are stored side by side
};

/// Consecutive elements in memory of a value that is read in place; see pieces.h.
struct Piece {
  ir::NodeId node = -1;  ///< a leaf or a row of a param, read where it lies, or a stored value
  std::int64_t begin = 0, length = 0;  ///< elements of it, in C order
  bool stored = false;                 ///< read from where a stage stored it
  bool of_owner = false;               ///< the value of the instance that owns the child
};

/// Loop nest shared by the nodes computed in it.
struct PlannedStage {
  RowDomain rows = RowDomain::instances;
  int port = -1;
  ir::Shape domain;
  bool vector_reduce = false;
  ir::NodeId tile = -1;
  std::vector<Piece> factor;      ///< of a tile: the vector that the weights meet
  std::vector<ir::NodeId> items;  ///< computed nodes, and views to be copied into storage
};

struct StagePlan {
  std::vector<Treatment> treatment;
  std::vector<int> stage;    ///< of a computed node or a copied view; -1 otherwise
  std::vector<bool> stored;  ///< read in another stage or at another coordinate
  std::vector<bool> whole;   ///< stored, and read as one piece of memory
  std::vector<int> gates;    ///< of a tile
  std::vector<PlannedStage> stages;
};

/// `outputs` are stored by the kernel.
StagePlan plan_stages(const ir::Graph& graph, std::span<const ir::NodeId> outputs,
                      const Target& target);

/// The weight matrix as blocks of params, or nothing if it is not made of params by transposing,
/// slicing, reshaping and joining alone.
std::optional<std::vector<Packing::Block>> weight_blocks(const ir::Graph& graph,
                                                         ir::NodeId weights);

}  // namespace espalier::codegen
