// A product that is read in slices of different lengths becomes a product for each slice, so that
// each is computed where it is wanted: the gradients of the two halves of a concat go to two
// places. Slices of one length share a product: they are the gates of a tile. Used on backward
// cells, whose values do not change by it. Tested by tests/ir/split_contractions_test.cpp.
#pragma once

#include <string>
#include <vector>

#include "ir/graph.h"

namespace espalier::ir {

/// The graph rebuilt; `targets` are its nodes that matter, and are renumbered.
Graph split_contractions(const Graph& graph, std::vector<NodeId>& targets,
                         const std::string& context);

}  // namespace espalier::ir
