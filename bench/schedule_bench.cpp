// What recording, scheduling and layout cost per instance, for a minibatch of binary Tree-LSTMs in
// the shape of the Stanford Sentiment Treebank: 25 trees of 19 words, a loss on every node.
//
//   schedule_bench [trees] [words per tree]
//
// Prints the median of many warm runs in ns per instance. The targets: recording ≤ 50, a strategy
// with its layout ≤ 50. Before them, in ns per call, what the recorder makes of calls: instances as
// they are, and with equal ones shared; words are as frequent as in a text.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <random>

#include "ir/record/instance_graph.h"
#include "ir/record/recorder.h"
#include "scheduler/cell_graph.h"
#include "scheduler/layout.h"
#include "scheduler/strategy.h"

namespace {

using namespace espalier;
using ir::InstanceId;

enum : ir::CellId { leaf, node, loss };

/// The ports and states of a Tree-LSTM; scheduling needs no bodies.
ir::Program tree_lstm() {
  const ir::Port word{"word", ir::PortKind::index}, label{"label", ir::PortKind::index};
  const ir::Port left{"left", ir::PortKind::child, 0}, right{"right", ir::PortKind::child, 0};
  const ir::Port state{"state", ir::PortKind::child, 0};
  ir::Program program;
  program.states = {{"State", {{}, {}}}, {"Loss", {{}}}};
  program.cells.resize(3);
  program.cells[leaf] = {"leaf", {word}, 0, {}, {}};
  program.cells[node] = {"node", {left, right}, 0, {}, {}};
  program.cells[loss] = {"loss", {state, label}, 1, {}, {}};
  return program;
}

/// Reductions of a stack machine: a word, or -1 for a node over the last two results.
using Tree = std::vector<std::int32_t>;

Tree random_tree(int words, std::mt19937& random) {
  Tree tree;
  for (int height = 0; words > 0 || height > 1;) {
    if (height < 2 || (words > 0 && random() % 2 == 0)) {
      // Of every rank about as many as of its double: Zipf's law.
      const double rank = std::pow(20000.0, static_cast<double>(random()) / 4294967296.0);
      tree.push_back(static_cast<std::int32_t>(rank) - 1);
      --words;
      ++height;
    } else {
      tree.push_back(-1);
      --height;
    }
  }
  return tree;
}

/// `call` records a call and gives its number.
template <class Recorder, class Call>
void record(const std::vector<Tree>& trees, std::vector<InstanceId>& stack, Recorder& recorder,
            const Call& call) {
  recorder.clear();
  for (std::size_t t = 0; t < trees.size(); ++t) {
    recorder.begin_example(t);
    stack.clear();
    for (std::int32_t word : trees[t]) {
      if (word >= 0) {
        stack.push_back(call(leaf, {}, {&word, 1}));
      } else {
        const InstanceId parent = call(node, {stack.data() + stack.size() - 2, 2}, {});
        stack.pop_back();
        stack.back() = parent;
      }
      const std::int32_t label = 2;
      call(loss, {&stack.back(), 1}, {&label, 1});
    }
  }
}

using Operands = std::span<const InstanceId>;
using Indices = std::span<const std::int32_t>;

/// Times of one stage; the machine is noisy, so the median counts.
class Stage {
 public:
  template <class Body>
  void time(std::size_t instances, const Body& body) {
    const auto begin = std::chrono::steady_clock::now();
    body();
    const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - begin;
    times_.push_back(time.count() / static_cast<double>(instances));
  }
  /// ns per instance.
  double median() {
    std::nth_element(times_.begin(), times_.begin() + times_.size() / 2, times_.end());
    return times_[times_.size() / 2];
  }

 private:
  std::vector<double> times_;
};

}  // namespace

int main(int argc, char** argv) {
  const int tree_count = argc > 1 ? std::atoi(argv[1]) : 25;
  const int words = argc > 2 ? std::atoi(argv[2]) : 19;
  if (tree_count < 1 || words < 1) {
    fmt::print(stderr, "usage: schedule_bench [trees] [words per tree]\n");
    return 2;
  }
  // Minibatches take turns, so that no branch predictor learns one by heart.
  std::mt19937 random(1);
  std::vector<std::vector<Tree>> minibatches(64);
  for (auto& trees : minibatches)
    for (int t = 0; t < tree_count; ++t) trees.push_back(random_tree(words, random));

  const ir::Program program = tree_lstm();
  const scheduler::CellGraph cells = scheduler::cell_graph(program);
  const std::size_t n = static_cast<std::size_t>(tree_count) * (4 * words - 2);
  const std::size_t runs = std::max<std::size_t>(20, 20'000'000 / n);
  fmt::print("{} trees, {} instances; ns per instance, medians of {} runs\n\n", tree_count, n,
             runs);
  for (const bool share : {false, true}) {
    ir::Program copy = program;
    ir::Recorder recorder(copy, {.share = share});
    std::vector<InstanceId> stack;
    Stage calls;
    std::size_t instances = 0;
    for (std::size_t run = 0; run < runs; ++run) {
      calls.time(n, [&] {
        record(minibatches[run % minibatches.size()], stack, recorder,
               [&](ir::CellId cell, Operands operands, Indices indices) {
                 return recorder.call(cell, operands, indices);
               });
      });
      instances += recorder.graph().size();
    }
    fmt::print("calls {:<6} {:>5.1f} ns, {:.0f} instances\n", share ? "shared" : "", calls.median(),
               static_cast<double>(instances) / static_cast<double>(runs));
  }

  fmt::print("\n{:<10} {:>9} {:>8} {:>7} {:>9} {:>13}\n", "strategy", "recording", "schedule",
             "append", "gradients", "without rec.");

  for (const scheduler::StrategyInfo& info : scheduler::strategies()) {
    const auto strategy = info.make();
    ir::InstanceGraph graph;
    std::vector<InstanceId> stack, losses;
    scheduler::Schedule schedule;
    scheduler::Layout layout;
    Stage recording, scheduling, placing, gradients;
    for (std::size_t run = 0; run < runs; ++run) {
      const auto& trees = minibatches[run % minibatches.size()];
      recording.time(n, [&] {
        losses.clear();
        record(trees, stack, graph, [&](ir::CellId cell, Operands operands, Indices indices) {
          const InstanceId id = graph.add(cell, operands, indices);
          if (cell == loss) losses.push_back(id);
          return id;
        });
      });
      scheduling.time(n, [&] { strategy->run(graph, cells, schedule); });
      placing.time(n, [&] {
        layout.clear(program);
        layout.append(graph, schedule, program);
      });
      gradients.time(n, [&] { layout.place_gradients(graph, program, losses); });
    }
    fmt::print("{:<10} {:>9.1f} {:>8.1f} {:>7.1f} {:>9.1f} {:>13.1f}\n", info.name,
               recording.median(), scheduling.median(), placing.median(), gradients.median(),
               scheduling.median() + placing.median() + gradients.median());
  }
}
