// Shorthands of the scheduler's tests.
#pragma once

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "ir/record/instance_graph.h"
#include "scheduler/cell_graph.h"
#include "scheduler/layout.h"
#include "scheduler/strategy.h"
#include "tests/support/random_graphs.h"

namespace espalier::test {

using scheduler::lower_bound;

inline scheduler::Schedule run_strategy(std::string_view name, const ir::InstanceGraph& graph,
                                        const ir::Program& program) {
  scheduler::Schedule schedule;
  scheduler::make_strategy(name)->run(graph, scheduler::cell_graph(program), schedule);
  return schedule;
}

inline scheduler::Layout lay_out(std::string_view strategy, const ir::InstanceGraph& graph,
                                 const ir::Program& program) {
  scheduler::Layout layout;
  layout.clear(program);
  layout.append(graph, run_strategy(strategy, graph, program), program);
  return layout;
}

/// Batches as text, e.g. "leaf 0 1 3 | node 2".
inline std::string describe(const scheduler::Schedule& schedule, const ir::Program& program) {
  std::string text;
  for (const scheduler::Batch& batch : schedule.batches) {
    text += text.empty() ? "" : " | ";
    text += program.cells[batch.cell].name;
    for (ir::InstanceId i : schedule.instances(batch)) text += fmt::format(" {}", i);
  }
  return text;
}

/// Calls instances [begin, end) of `from` once more on `to`, which holds those before `begin`.
inline void copy_instances(const ir::InstanceGraph& from, ir::InstanceId begin, ir::InstanceId end,
                           ir::InstanceGraph& to) {
  for (ir::InstanceId i = begin; i < end; ++i)
    to.add(from.cell(i), from.operands(i), from.indices(i));
}

/// Expects `action` to throw an InternalError whose text contains `part`.
template <class Action>
void expect_internal_error(const Action& action, std::string_view part) {
  try {
    action();
    ADD_FAILURE() << "no error, expected one with: " << part;
  } catch (const InternalError& error) {
    EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos)
        << error.what() << "\nlacks: " << part;
  }
}

/// A binary Tree-LSTM minibatch small enough to schedule by hand:
///
///   example 0: (a b) c          0 a, 1 b, 2 node(0 1), 3 c, 4 node(2 3), losses 5 of 2 and 6 of 4
///   example 1: d                7 d, 8 loss of 7
struct SmallTrees {
  enum : ir::CellId { leaf, node, loss };
  ir::Program program = make_program(Family::tree_lstm);
  ir::InstanceGraph graph;

  SmallTrees() {
    graph.begin_example(0);
    add(leaf, {}, {10});
    add(leaf, {}, {11});
    add(node, {0, 1}, {});
    add(leaf, {}, {12});
    add(node, {2, 3}, {});
    add(loss, {2}, {1});
    add(loss, {4}, {1});
    graph.begin_example(1);
    add(leaf, {}, {13});
    add(loss, {7}, {0});
  }

  ir::InstanceId add(ir::CellId cell, std::vector<ir::InstanceId> operands,
                     std::vector<std::int32_t> indices) {
    return graph.add(cell, operands, indices);
  }
};

}  // namespace espalier::test
