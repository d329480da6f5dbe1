// Random keys of instances: what dropout draws is keyed by seed, step, example and call, and so
// does not depend on batching.
#pragma once

#include <span>

#include "ir/record/instance_graph.h"

namespace espalier::runtime {

/// Fills keys[i] for instances[i].
void draw_keys(std::uint64_t seed, std::uint64_t step, const ir::InstanceGraph& graph,
               std::span<const ir::InstanceId> instances, std::uint64_t* keys);

}  // namespace espalier::runtime
