// How far single precision may be from double: the roundings that a value has behind it. Used by
// tests of kernels, whose tolerances are so many half units in the last place.
#pragma once

#include <vector>

#include "ir/graph.h"

namespace espalier::test {

/// Half a unit in the last place of 1: the error of one rounding.
inline constexpr double kRounding = 0x1p-24;

/// For each node, the roundings on the longest way to it from a leaf, which has `of_leaves` behind
/// it: as many for a sum or a product of matrices as it has terms, for an element-wise op as its
/// record allows. A Children port has up to `children` elements.
std::vector<double> rounding_depth(const ir::Graph& graph, int children, double of_leaves = 0);

}  // namespace espalier::test
