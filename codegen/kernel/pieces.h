// Where a value can be read in place: the one decision that the stage plan, the row pointers of
// contractions and the weight gradients share. A piece is decided without expressions; its address
// is Expressions::segment.
#pragma once

#include <optional>
#include <vector>

#include "codegen/kernel/stage_plan.h"

namespace espalier::codegen {

/// The elements of the value `id` in C order, as pieces of memory: rows that a leaf reads, and what
/// the stages of `plan` store. A view is read where it looks, never from a copy of it, unless it
/// can be read nowhere else: the copy may be made later than the reader runs. Nothing if the value
/// would have to be computed or copied first and `plan` does not do that.
std::optional<std::vector<Piece>> pieces(const ir::Graph& graph, const StagePlan& plan,
                                         ir::NodeId id);

/// A plan of no stage: only what leaves read lies in memory. For kernels behind all batches.
StagePlan leaves_only(const ir::Graph& graph);

}  // namespace espalier::codegen
