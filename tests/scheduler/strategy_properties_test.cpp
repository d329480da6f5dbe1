// What holds of every strategy on every family of random minibatches.
#include <algorithm>

#include "scheduler/report.h"
#include "tests/scheduler/scheduling.h"

namespace espalier::test {
namespace {

using scheduler::Schedule;

struct Case {
  scheduler::StrategyInfo strategy;
  Family family;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const auto& strategy : scheduler::strategies())
    for (Family family : families()) all.push_back({strategy, family});
  return all;
}

void PrintTo(const Case& c, std::ostream* out) { *out << c.strategy.name << name(c.family); }

class RandomMinibatches : public ::testing::TestWithParam<Case> {
 protected:
  /// Calls visit(program, graph) for many minibatches, small ones first.
  template <class Visit>
  void for_each_minibatch(const Visit& visit) {
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
      SCOPED_TRACE(::testing::Message() << "seed " << seed);
      const ir::Program program = make_program(GetParam().family, seed);
      const ir::InstanceGraph graph =
          make_instances(GetParam().family, program, seed, 1 + seed * seed / 8);
      ir::verify(graph, program);
      visit(program, graph);
      if (HasFatalFailure()) return;
    }
  }
  std::string_view strategy() const { return GetParam().strategy.name; }
};
INSTANTIATE_TEST_SUITE_P(All, RandomMinibatches, ::testing::ValuesIn(cases()),
                         [](const auto& info) {
                           return std::string(info.param.strategy.name) + "_" +
                                  std::string(name(info.param.family));
                         });

TEST_P(RandomMinibatches, AreScheduled) {
  for_each_minibatch([&](const ir::Program& program, const ir::InstanceGraph& graph) {
    const Schedule schedule = run_strategy(strategy(), graph, program);
    check(schedule, graph);
    EXPECT_GE(schedule.batches.size(), lower_bound(graph));
    if (strategy() == "unbatched") {
      EXPECT_EQ(schedule.batches.size(), graph.size());
    }
    EXPECT_LE(schedule.batches.size(), graph.size());
  });
}

TEST_P(RandomMinibatches, AreScheduledTheSameWayTwice) {
  // Also by a strategy that has scheduled something else in between: scratch does not leak.
  const auto warm = GetParam().strategy.make();
  Schedule reused;
  for_each_minibatch([&](const ir::Program& program, const ir::InstanceGraph& graph) {
    warm->run(graph, scheduler::cell_graph(program), reused);
    EXPECT_EQ(reused, run_strategy(strategy(), graph, program));
  });
}

TEST_P(RandomMinibatches, AreScheduledInParts) {
  for_each_minibatch([&](const ir::Program& program, const ir::InstanceGraph& graph) {
    Random random(graph.size());
    const auto kept = GetParam().strategy.make();
    const auto cells = scheduler::cell_graph(program);
    ir::InstanceGraph growing;
    scheduler::Layout layout;
    layout.clear(program);
    Schedule schedule;
    std::size_t batches = 0;
    while (growing.done() < graph.size()) {
      const ir::InstanceId from = growing.done();
      const auto recorded = static_cast<ir::InstanceId>(growing.size());
      const auto to = static_cast<ir::InstanceId>(
          std::min<std::size_t>(graph.size(), recorded + 1 + random.below(graph.size() - from)));
      copy_instances(graph, recorded, to, growing);
      kept->run(growing, cells, schedule);
      check(schedule, growing);
      EXPECT_GE(schedule.batches.size(), lower_bound(growing, from));
      layout.append(growing, schedule, program);
      check(layout, growing, program);
      if (random.chance(0.3)) {  // taken back, these and more are placed the next time
        layout.cut(batches, from, program);
        continue;
      }
      batches += schedule.batches.size();
      growing.set_done(to);
    }
    EXPECT_GE(batches, lower_bound(graph));
    EXPECT_EQ(layout.batches.size(), batches);
    const auto losses = loss_instances(graph, program);
    layout.place_gradients(growing, program, losses);
    check_gradients(layout, growing, program, losses);
  });
}

TEST_P(RandomMinibatches, AreReported) {
  for_each_minibatch([&](const ir::Program& program, const ir::InstanceGraph& graph) {
    const auto layout = lay_out(strategy(), graph, program);
    const auto report = scheduler::schedule_report(strategy(), graph, program, layout);
    EXPECT_EQ(report.batches.size(), layout.batches.size());
    EXPECT_GE(report.ratio(), 1.0);
    std::size_t read = 0, fed = 0;
    for (const std::size_t rows : report.rows) read += rows;
    for (const auto& edge : report.edges) {
      EXPECT_LT(report.batches[edge.from].level, report.batches[edge.to].level);
      fed += edge.rows;
    }
    EXPECT_EQ(read, graph.all_operands().size());
    EXPECT_EQ(fed, graph.all_operands().size());
  });
}

/// The agenda as the paper tells it, looking at every instance for every batch.
Schedule plain_agenda(const ir::InstanceGraph& graph, std::size_t cells) {
  std::vector<std::uint64_t> depth(graph.size()), sum(cells), count(cells);
  for (ir::InstanceId i = 0; i < graph.size(); ++i) {
    for (ir::InstanceId operand : graph.operands(i))
      depth[i] = std::max(depth[i], depth[operand] + 1);
    sum[graph.cell(i)] += depth[i];
    ++count[graph.cell(i)];
  }
  Schedule schedule;
  std::vector<bool> done(graph.size());
  while (schedule.order.size() < graph.size()) {
    std::vector<std::vector<ir::InstanceId>> ready(cells);
    for (ir::InstanceId i = 0; i < graph.size(); ++i) {
      const auto operands = graph.operands(i);
      if (!done[i] &&
          std::all_of(operands.begin(), operands.end(), [&](auto o) { return done[o]; }))
        ready[graph.cell(i)].push_back(i);
    }
    std::size_t best = cells;
    for (std::size_t c = 0; c < cells; ++c) {
      if (ready[c].empty()) continue;
      if (best == cells || sum[c] * count[best] < sum[best] * count[c]) best = c;
    }
    const auto begin = static_cast<std::uint32_t>(schedule.order.size());
    schedule.order.insert(schedule.order.end(), ready[best].begin(), ready[best].end());
    const auto end = static_cast<std::uint32_t>(schedule.order.size());
    schedule.batches.push_back({static_cast<ir::CellId>(best), begin, end});
    for (ir::InstanceId i : ready[best]) done[i] = true;
  }
  return schedule;
}

TEST(Agenda, IsThePlainAgenda) {
  for (Family family : families()) {
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
      const ir::Program program = make_program(family, seed);
      const ir::InstanceGraph graph = make_instances(family, program, seed, seed * 5);
      EXPECT_EQ(run_strategy("agenda", graph, program), plain_agenda(graph, program.cells.size()))
          << name(family) << " seed " << seed;
    }
  }
}

TEST(PhaseOnTrees, IsOptimalWithOneLeafAndOneLossBatch) {
  for (Family family : {Family::tree_lstm, Family::child_sum_tree, Family::lstm}) {
    const ir::Program program = make_program(family);
    for (std::uint64_t seed = 0; seed < 100; ++seed) {
      const ir::InstanceGraph graph = make_instances(family, program, seed, 1 + 3 * seed);
      const Schedule schedule = run_strategy("phase", graph, program);
      EXPECT_EQ(schedule.batches.size(), lower_bound(graph)) << name(family) << " " << seed;
      for (const std::string_view once : {"leaf", "start", "loss"}) {
        const auto batches = std::count_if(
            schedule.batches.begin(), schedule.batches.end(),
            [&](const auto& batch) { return program.cells[batch.cell].name == once; });
        EXPECT_LE(batches, 1) << name(family) << " " << once;
      }
    }
  }
}

TEST(RandomInstances, AreForestsWithoutReuse) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const ir::Program program = random_program(seed);
    const ir::InstanceGraph graph = random_instances(program, seed, 200, {.reuse = 0});
    ir::verify(graph, program);
    EXPECT_EQ(graph.size(), 200u);
    std::vector<int> readers(graph.size());
    for (ir::InstanceId operand : graph.all_operands()) EXPECT_LE(++readers[operand], 1);
  }
}

}  // namespace
}  // namespace espalier::test
