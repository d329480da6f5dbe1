// Random programs and minibatches for tests of scheduling and execution: families of models as the
// scheduler sees them (cells with ports and states, empty graphs), and a generic recorder of random
// calls for any program. Everything is a function of its seed, on every platform.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "ir/record/instance_graph.h"
#include "tests/support/random.h"

namespace espalier::test {

enum class Family : std::uint8_t {
  tree_lstm,       ///< leaf, node(left, right), loss on every node
  two_type_trees,  ///< as tree_lstm with two kinds of node, loss at the root
  child_sum_tree,  ///< node(children…), loss at the root
  lstm,            ///< start, step; loss on the last or on every step
  bidirectional,   ///< two chains of one state, joined at every token
  lattice,         ///< a chain with words that skip ahead, merged where they end
  any,             ///< random_program and random_instances
};
std::span<const Family> families();
std::string_view name(Family family);

/// `seed` makes a difference for Family::any only.
ir::Program make_program(Family family, std::uint64_t seed = 0);
/// Whole examples of the family until there are at least `size` instances; none if `size` is 0.
ir::InstanceGraph make_instances(Family family, const ir::Program& program, std::uint64_t seed,
                                 std::size_t size);

/// One to three states and two to seven cells with random ports, the first without Child ports.
ir::Program random_program(std::uint64_t seed);

struct RandomInstances {
  /// How often an operand is any earlier output, whoever reads it already. With 0, no output is
  /// read twice: a forest. Otherwise a DAG.
  double reuse = 0.3;
  std::int32_t index_bound = 5;  ///< Index values are 0 … index_bound - 1
  std::size_t max_children = 4;
};

/// Exactly `size` random calls of the program's cells. Needs a cell without Child ports.
ir::InstanceGraph random_instances(const ir::Program& program, std::uint64_t seed, std::size_t size,
                                   const RandomInstances& options = {});

/// The instances of the cell named "loss", or all whose outputs nobody reads if there is none.
std::vector<ir::InstanceId> loss_instances(const ir::InstanceGraph& graph,
                                           const ir::Program& program);

}  // namespace espalier::test
