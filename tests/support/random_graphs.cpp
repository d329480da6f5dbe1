#include "tests/support/random_graphs.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/error.h"
#include "ir/record/recorder.h"

namespace espalier::test {
namespace {

using ir::CellId;
using ir::InstanceGraph;
using ir::InstanceId;
using ir::Port;
using ir::PortKind;
using ir::StateId;

// States and cells of the families. State 0 is what recursion hands on, state 1 the loss.
constexpr StateId hidden = 0, scalar = 1;
const Port word{"word", PortKind::index, -1}, label{"label", PortKind::index, -1};

Port child(std::string name) { return {std::move(name), PortKind::child, hidden}; }
Port children(std::string name) { return {std::move(name), PortKind::children, hidden}; }

ir::Cell cell(std::string name, std::vector<Port> ports, StateId state = hidden) {
  ir::Cell result;
  result.name = std::move(name);
  result.ports = std::move(ports);
  result.state = state;
  return result;
}

/// Records calls with random Index values.
struct Recorder {
  const ir::Program& program;
  InstanceGraph& graph;
  Random& random;
  std::int32_t index_bound = 5;
  std::vector<InstanceId> operands;
  std::vector<std::int32_t> indices;

  CellId find(std::string_view cell) const {
    for (std::size_t c = 0; c < program.cells.size(); ++c)
      if (program.cells[c].name == cell) return static_cast<CellId>(c);
    throw InternalError("no such cell: " + std::string(cell));
  }

  /// `groups` are the operands of each Child and Children port.
  InstanceId call(CellId id, const std::vector<std::vector<InstanceId>>& groups) {
    operands.clear();
    indices.clear();
    auto group = groups.begin();
    for (const Port& port : program.cells[id].ports) {
      if (port.kind == PortKind::index) {
        indices.push_back(static_cast<std::int32_t>(random.below(index_bound)));
        continue;
      }
      if (port.kind == PortKind::children)
        indices.push_back(static_cast<std::int32_t>(group->size()));
      operands.insert(operands.end(), group->begin(), group->end());
      ++group;
    }
    return graph.add(id, operands, indices);
  }
  InstanceId call(std::string_view cell, const std::vector<std::vector<InstanceId>>& groups) {
    return call(find(cell), groups);
  }
};

/// A random binary tree; losses come with each node, or all of them after the tree.
void record_binary_tree(Recorder& r, const std::vector<std::string>& nodes, bool loss_everywhere) {
  const bool late = r.random.chance(0.5);
  std::vector<InstanceId> all, stack;
  const auto push = [&](InstanceId i) {
    stack.push_back(i);
    all.push_back(i);
    if (loss_everywhere && !late) r.call("loss", {{i}});
  };
  auto words = r.random.between(1, 12);
  const double eager = r.random.chance(0.3) ? 1 : 0.5;  // 1 makes a left-branching tree
  while (words > 0 || stack.size() > 1) {
    if (stack.size() >= 2 && (words == 0 || r.random.chance(eager))) {
      const InstanceId right = stack.back(), left = stack[stack.size() - 2];
      stack.resize(stack.size() - 2);
      push(r.call(nodes[r.random.below(nodes.size())], {{left}, {right}}));
    } else {
      push(r.call("leaf", {}));
      --words;
    }
  }
  if (!loss_everywhere) all = {stack.back()};
  if (late || !loss_everywhere)
    for (InstanceId i : all) r.call("loss", {{i}});
}

void record_child_sum_tree(Recorder& r) {
  // Node k's parent is one of the nodes after it, so children precede parents.
  const auto size = static_cast<std::size_t>(r.random.between(1, 15));
  std::vector<std::vector<InstanceId>> children_of(size);
  InstanceId root = 0;
  for (std::size_t k = 0; k < size; ++k) {
    root = r.call("node", {children_of[k]});
    if (k + 1 < size) children_of[k + 1 + r.random.below(size - k - 1)].push_back(root);
  }
  r.call("loss", {{root}});
}

void record_lstm(Recorder& r) {
  const bool loss_everywhere = r.random.chance(0.5);
  InstanceId state = r.call("start", {});
  for (auto left = r.random.between(1, 10); left > 0; --left) {
    state = r.call("step", {{state}});
    if (loss_everywhere || left == 1) r.call("loss", {{state}});
  }
}

void record_bidirectional(Recorder& r) {
  const auto size = static_cast<std::size_t>(r.random.between(1, 8));
  std::vector<InstanceId> forward{r.call("start", {})}, backward{r.call("start", {})};
  for (std::size_t k = 0; k < size; ++k) forward.push_back(r.call("forward", {{forward.back()}}));
  for (std::size_t k = 0; k < size; ++k)
    backward.push_back(r.call("backward", {{backward.back()}}));
  for (std::size_t k = 0; k < size; ++k) r.call("loss", {{forward[k + 1]}, {backward[size - k]}});
}

void record_lattice(Recorder& r) {
  std::vector<InstanceId> states{r.call("start", {})};
  for (auto left = r.random.between(1, 10); left > 0; --left) {
    InstanceId state = r.call("character", {{states.back()}});
    std::vector<InstanceId> words;
    while (words.size() < 3 && r.random.chance(0.4))
      words.push_back(r.call("word", {{states[r.random.below(states.size())]}}));
    if (!words.empty()) state = r.call("merge", {{state}, words});
    states.push_back(state);
  }
  r.call("loss", {{states.back()}});
}

std::vector<ir::Cell> family_cells(Family family) {
  const ir::Cell start = cell("start", {}), leaf = cell("leaf", {word});
  const ir::Cell loss = cell("loss", {child("state"), label}, scalar);
  switch (family) {
    case Family::tree_lstm:
      return {leaf, cell("node", {child("left"), child("right")}), loss};
    case Family::two_type_trees:
      return {leaf, cell("noun", {child("left"), child("right")}),
              cell("verb", {child("left"), child("right")}), loss};
    case Family::child_sum_tree:
      return {cell("node", {word, children("children")}), loss};
    case Family::lstm:
      return {start, cell("step", {child("before"), word}), loss};
    case Family::bidirectional:
      return {start, cell("forward", {child("before"), word}),
              cell("backward", {child("after"), word}),
              cell("loss", {child("forward"), child("backward"), label}, scalar)};
    case Family::lattice:
      return {start, cell("character", {child("before"), word}),
              cell("word", {child("begin"), word}),
              cell("merge", {child("character"), children("words")}), loss};
    case Family::any:
      break;
  }
  return {};
}

}  // namespace

std::span<const Family> families() {
  static constexpr std::array all{Family::tree_lstm, Family::two_type_trees, Family::child_sum_tree,
                                  Family::lstm,      Family::bidirectional,  Family::lattice,
                                  Family::any};
  return all;
}

std::string_view name(Family family) {
  static constexpr std::array<std::string_view, 7> names{
      "tree_lstm", "two_type_trees", "child_sum_tree", "lstm", "bidirectional", "lattice", "any"};
  return names[static_cast<std::size_t>(family)];
}

ir::Program make_program(Family family, std::uint64_t seed) {
  if (family == Family::any) return random_program(seed);
  ir::Program program;
  program.name = name(family);
  program.states = {{"State", {ir::Type{}, ir::Type{}}}, {"Loss", {ir::Type{}}}};
  program.cells = family_cells(family);
  return program;
}

InstanceGraph make_instances(Family family, const ir::Program& program, std::uint64_t seed,
                             std::size_t size) {
  if (family == Family::any) return random_instances(program, seed, size);
  Random random(seed);
  InstanceGraph graph;
  Recorder r{program, graph, random, 5, {}, {}};
  for (std::uint64_t example = 0; graph.size() < size; ++example) {
    graph.begin_example(example);
    if (family == Family::tree_lstm) record_binary_tree(r, {"node"}, true);
    if (family == Family::two_type_trees) record_binary_tree(r, {"noun", "verb"}, false);
    if (family == Family::child_sum_tree) record_child_sum_tree(r);
    if (family == Family::lstm) record_lstm(r);
    if (family == Family::bidirectional) record_bidirectional(r);
    if (family == Family::lattice) record_lattice(r);
  }
  return graph;
}

ir::Program random_program(std::uint64_t seed) {
  Random random(seed);
  ir::Program program;
  program.name = "random_" + std::to_string(seed);
  const auto states = random.between(1, 3), cells = random.between(2, 7);
  for (int s = 0; s < states; ++s) {
    program.states.push_back(
        {"state" + std::to_string(s),
         std::vector<ir::Type>(static_cast<std::size_t>(random.between(1, 2)))});
  }
  for (int c = 0; c < cells; ++c) {
    std::vector<Port> ports;
    for (auto left = random.between(c == 0 ? 0 : 1, 4); left > 0; --left) {
      const auto kind = static_cast<PortKind>(random.below(3));
      Port port{"port" + std::to_string(ports.size()), kind, -1};
      if (c == 0 && kind == PortKind::child) port.kind = PortKind::children;
      if (port.kind != PortKind::index) port.state = static_cast<StateId>(random.below(states));
      ports.push_back(port);
    }
    program.cells.push_back(
        cell("cell" + std::to_string(c), ports, static_cast<StateId>(random.below(states))));
  }
  return program;
}

InstanceGraph random_instances(const ir::Program& program, std::uint64_t seed, std::size_t size,
                               const RandomInstances& options) {
  Random random(seed);
  InstanceGraph graph;
  Recorder recorder{program, graph, random, options.index_bound, {}, {}};
  std::vector<std::vector<InstanceId>> outputs(program.states.size()), unread = outputs, groups;
  std::vector<CellId> callable;

  const auto readable = [&](StateId s) {
    return options.reuse > 0 ? outputs[s].size() : unread[s].size();
  };
  const auto take = [&](StateId s) {
    if (unread[s].empty() || random.chance(options.reuse))
      return outputs[s][random.below(outputs[s].size())];
    std::swap(unread[s][random.below(unread[s].size())], unread[s].back());
    const InstanceId taken = unread[s].back();
    unread[s].pop_back();
    return taken;
  };
  for (std::size_t example = 0; graph.size() < size;) {
    if (example == 0 || random.chance(0.1)) graph.begin_example(example++);
    callable.clear();
    for (std::size_t c = 0; c < program.cells.size(); ++c) {
      std::vector<std::size_t> needed(program.states.size());
      for (const Port& port : program.cells[c].ports)
        if (port.kind == PortKind::child) ++needed[port.state];
      bool enough = true;
      for (std::size_t s = 0; s < needed.size(); ++s) {
        const std::size_t least =
            options.reuse > 0 ? std::min<std::size_t>(needed[s], 1) : needed[s];
        enough = enough && readable(static_cast<StateId>(s)) >= least;
      }
      if (enough) callable.push_back(static_cast<CellId>(c));
    }
    internal_check(!callable.empty(), "no cell of '{}' can be called", program.name);

    const CellId id = callable[random.below(callable.size())];
    const ir::Cell& called = program.cells[id];
    groups.assign(called.ports.size(), {});  // those behind the last are not used
    // Child ports come first: what they need is sure to be there.
    for (const PortKind kind : {PortKind::child, PortKind::children}) {
      std::size_t group = 0;
      for (const Port& port : called.ports) {
        if (port.kind == PortKind::index) continue;
        std::vector<InstanceId>& operands = groups[group++];
        if (port.kind != kind) continue;
        std::size_t count = kind == PortKind::child ? 1 : random.below(options.max_children + 1);
        for (; count > 0 && readable(port.state) > 0; --count) operands.push_back(take(port.state));
      }
    }
    const InstanceId added = recorder.call(id, groups);
    outputs[called.state].push_back(added);
    unread[called.state].push_back(added);
  }
  return graph;
}

std::vector<InstanceId> loss_instances(const InstanceGraph& graph, const ir::Program& program) {
  const auto is_loss = [](const ir::Cell& cell) { return cell.name == "loss"; };
  const bool named = std::any_of(program.cells.begin(), program.cells.end(), is_loss);
  std::vector<bool> chosen(graph.size());
  for (InstanceId i = 0; i < graph.size(); ++i)
    chosen[i] = !named || is_loss(program.cells[graph.cell(i)]);
  if (!named)
    for (InstanceId read : graph.all_operands()) chosen[read] = false;
  std::vector<InstanceId> losses;
  for (InstanceId i = 0; i < graph.size(); ++i)
    if (chosen[i]) losses.push_back(i);
  return losses;
}

}  // namespace espalier::test
