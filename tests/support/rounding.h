// How far single precision may be from double: the roundings that a value has behind it. Used by
// tests of kernels, whose tolerances are so many half units in the last place.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ir/evaluate.h"
#include "ir/graph.h"

namespace espalier::test {

/// Half a unit in the last place of 1: the error of one rounding.
inline constexpr double kRounding = 0x1p-24;

/// For each node, the roundings on the longest way to it from a leaf, which has `of_leaves` behind
/// it: as many for a sum or a product of matrices as it has terms, for an element-wise op as its
/// record allows. A Children port has up to `children` elements.
std::vector<double> rounding_depth(const ir::Graph& graph, int children, double of_leaves = 0);

/// As ir::evaluate, with each element of each node off by as much as it may be in single precision,
/// given its operands: so many roundings of the sum of its terms' sizes, or, of an even `salt`, the
/// float above or below, so that what is exact stays so and ties stay ties. Up or down is drawn by
/// `salt`, the op and the value, so that what is computed twice is off alike. How far the results
/// of some salts are from those in double is how far kernels may be, however the errors have grown
/// on their way.
std::vector<ir::Array> evaluate_rounded(const ir::Graph& graph, std::span<const int> children,
                                        const ir::LeafData& leaf, std::uint64_t salt);

}  // namespace espalier::test
