// Whether a value is only addressed, and as which segments: the one query that the stage plan, the
// row pointers of contractions and the weight gradients share. Pieces are found without building
// expressions; Expressions::segment gives the address of one.
#pragma once

#include <optional>
#include <vector>

#include "codegen/kernel/stage_plan.h"

namespace espalier::codegen {

/// The elements of the value `id` in C order, as pieces of memory: rows that a leaf reads, and what
/// the stages of `plan` store. A view is read from its source. Its copy is read only if there is no
/// other way, since the copy may be made after the reader runs. Nothing if the value would have to
/// be computed or copied first and `plan` does not do that.
std::optional<std::vector<Piece>> pieces(const ir::Graph& graph, const StagePlan& plan,
                                         ir::NodeId id);

/// A plan without stages: only what leaves read is in memory. For kernels that run after all
/// batches.
StagePlan leaves_only(const ir::Graph& graph);

}  // namespace espalier::codegen
