// Sharing: which calls are one instance, and that nobody can tell from the numbers.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <tuple>

#include "ir/record/recorder.h"
#include "tests/frontend/support.h"
#include "tests/support/random_calls.h"

namespace espalier {
namespace {

using ir::CallId;
using ir::Granularity;
using ir::InstanceId;

struct State {
  Tensor h, c;
};

struct Net : Model {
  Cell<State(Index)> leaf;
  Cell<State(State, State)> node, noisy;
  Cell<State(Children<State>, Index, Children<State>)> two;
  Cell<Tensor(State, Index)> loss;

  Net() : Model("net") {
    declare_state<State>(Shape{2}, Shape{2});
    const Param embed = param("embed", {10, 2}), w = param("w", {3, 2});
    leaf = cell("leaf", [=](Index i) -> State {
      const Tensor x = row(embed, i);
      return {tanh(x), x * x};
    });
    node = cell("node", [](State l, State r) -> State { return {l.h - r.h, l.c * r.c}; });
    noisy = cell("noisy", [](State l, State r) -> State { return {dropout(l.h, 0.5), r.c}; });
    two = cell("two", [=](Children<State> a, Index i, Children<State> b) -> State {
      return {sum_children(a.h) + row(embed, i), mean_children(b.c)};
    });
    loss = cell("loss", [=](State s, Index i) { return cross_entropy(matmul(w, s.h), i); });
  }
};

struct Sharing : testing::TestWithParam<Granularity> {
  Net net;
  ir::Program program = net.program();
  ir::Recorder recorder{program, {.granularity = GetParam(), .share = true}};
  Instances g{recorder};

  /// Instances that the call adds.
  template <class Record>
  std::size_t added(Record record) {
    const std::size_t before = recorder.graph().size();
    record();
    ir::verify(recorder.graph(), recorder.program());
    return recorder.graph().size() - before;
  }
  void expect_one(const ir::CallHandle& a, const ir::CallHandle& b) {
    EXPECT_NE(a.id, b.id);
    for (int field : {0, 1})
      EXPECT_EQ(recorder.instance(a.id, field), recorder.instance(b.id, field));
  }
};

INSTANTIATE_TEST_SUITE_P(Granularities, Sharing,
                         testing::Values(Granularity::cell, Granularity::op), [](const auto& info) {
                           return info.param == Granularity::cell ? "cell" : "op";
                         });

TEST_P(Sharing, EqualSubtreesAreOne) {
  const auto tree = [&] {
    return g(net.node, g(net.leaf, 3), g(net.node, g(net.leaf, 4), g(net.leaf, 3)));
  };
  Call<State> first, second;
  EXPECT_GT(added([&] { first = tree(); }), 0u);
  g.begin_example(1);
  EXPECT_EQ(added([&] { second = tree(); }), 0u);
  EXPECT_EQ(g.size(), 10u);
  expect_one(first, second);
  EXPECT_EQ(recorder.graph().size(), GetParam() == Granularity::cell ? 4u : 10u);
}

TEST_P(Sharing, WhatDiffersIsNot) {
  const auto a = g(net.leaf, 1);
  EXPECT_GT(added([&] { g(net.leaf, 2); }), 0u);
  const auto b = g(net.leaf, 2);
  EXPECT_GT(added([&] { g(net.node, a, b); }), 0u);
  EXPECT_GT(added([&] { g(net.node, b, a); }), 0u);
  EXPECT_EQ(added([&] { g(net.node, b, a); }), 0u);
  using Calls = std::vector<Call<State>>;
  // The same three operands, divided among two ports in two ways.
  EXPECT_GT(added([&] { g(net.two, Calls{a}, 1, Calls{b, a}); }), 0u);
  EXPECT_GT(added([&] { g(net.two, Calls{a, b}, 1, Calls{a}); }), 0u);
  EXPECT_GT(added([&] { g(net.two, Calls{a, b}, 2, Calls{a}); }), 0u);
  EXPECT_EQ(added([&] { g(net.two, Calls{a, b}, 2, Calls{a}); }), 0u);
}

TEST_P(Sharing, EachCallKeepsItsLoss) {
  const auto a = g(net.loss, g(net.leaf, 1), 2), b = g(net.loss, g(net.leaf, 1), 2);
  EXPECT_EQ(recorder.instance(a.id, 0), recorder.instance(b.id, 0));
  g.loss(a);
  g.loss(b);
  g.loss(b);
  EXPECT_EQ(recorder.losses().size(), 3u);
  EXPECT_EQ(recorder.losses()[0], recorder.losses()[2]);
}

TEST_P(Sharing, CallsThatDrawAreNotShared) {
  const auto record = [&] {
    const auto a = g(net.leaf, 1);
    const auto first = g(net.noisy, a, a);
    return std::pair(first, g(net.noisy, g(net.leaf, 1), a));
  };
  const auto [x, y] = record();
  EXPECT_NE(recorder.instance(x.id, 0), recorder.instance(y.id, 0));
  EXPECT_GT(added([&] { g(net.node, x, x); }), 0u);
  EXPECT_GT(added([&] { g(net.node, y, y); }), 0u) << "nor is what reads them";
  // Streams are those of calls, shared or not.
  EXPECT_EQ(recorder.graph().stream(recorder.instance(y.id, 0).first).call, 3u);

  recorder.clear(/*random=*/false);
  g = Instances(recorder);
  const auto [u, v] = record();
  expect_one(u, v);
  recorder.clear();
  g = Instances(recorder);
  const auto [s, t] = record();
  EXPECT_NE(recorder.instance(s.id, 0), recorder.instance(t.id, 0));
}

TEST_P(Sharing, ArithmeticOutsideCellsIsSharedToo) {
  const auto make = [&](int word) {
    const auto h = field(g(net.leaf, word), &State::h);
    return sum(tanh(h) * 2.0) + dot(h, h);
  };
  const auto a = make(1);
  EXPECT_EQ(added([&] { make(1); }), 0u);
  EXPECT_GT(added([&] { make(2); }), 0u);
  EXPECT_EQ(recorder.state(a.id), recorder.state(make(3).id));
}

TEST_P(Sharing, NothingIsLeftOfAnEarlierMinibatch) {
  g(net.node, g(net.leaf, 1), g(net.leaf, 2));
  recorder.clear();
  g = Instances(recorder);
  g(net.leaf, 3);
  EXPECT_GT(added([&] { g(net.leaf, 2); }), 0u);
  EXPECT_GT(added([&] { g(net.leaf, 1); }), 0u);
  EXPECT_EQ(added([&] { g(net.leaf, 2); }), 0u);
}

TEST(ShareTable, FindsExactlyTheEqualOnes) {
  // Few cells, operands and indices, so that many are equal; enough instances to grow the table.
  ir::ShareTable table;
  ir::InstanceGraph graph;
  test::Random random(3);
  for (int round = 0; round < 3; ++round) {
    graph.clear();
    table.clear();
    using Key = std::tuple<ir::CellId, std::vector<InstanceId>, std::vector<std::int32_t>>;
    std::map<Key, InstanceId> known;
    for (int i = 0; i < 20'000; ++i) {
      Key key{random.integer(3), {}, {}};
      auto& [cell, operands, indices] = key;
      for (int n = graph.size() > 0 ? random.integer(3) : 0; n > 0; --n)
        operands.push_back(
            InstanceId(random.integer(int(std::min<std::size_t>(graph.size(), 90)))));
      for (int n = random.integer(3); n > 0; --n) indices.push_back(random.integer(40) - 20);
      const InstanceId found = table.find_or_insert(graph, cell, operands, indices);
      const auto [at, is_new] = known.emplace(key, InstanceId(graph.size()));
      ASSERT_EQ(found, at->second);
      if (is_new) graph.add(cell, operands, indices);
    }
    EXPECT_GT(graph.size(), 4'000u);
    EXPECT_LT(graph.size(), 19'000u);
  }
}

/// A recording of random examples, and its numbers in double.
struct Recorded {
  ir::Program program;
  ir::Recorder recorder;
  test::Oracle oracle;

  Recorded(std::uint64_t seed, ir::RecordOptions options)
      : program(test::random_program(seed)),
        recorder(program, options),
        oracle(recorder.program(), test::random_params(program, unsigned(seed)),
               [](const ir::InstanceGraph::Stream& stream, int mask, double, std::int64_t at) {
                 return (stream.example + stream.call + stream.element + mask + at) % 3 ? 1.5 : 0.0;
               }) {
    for (std::uint64_t example = 0; example < 12; ++example)
      test::record_random(Instances(recorder), example % 5);  // some twice
    ir::verify(recorder.program());
    ir::verify(recorder.graph(), recorder.program());
  }
};

TEST(RecordOptions, AllGiveTheSameNumbers) {
  std::size_t shared = 0, split = 0;
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    for (const auto granularity : {Granularity::cell, Granularity::op}) {
      Recorded plain(seed, {.granularity = granularity});
      const auto expected = plain.oracle.forward(plain.recorder.graph());
      const auto slopes = plain.oracle.gradients(plain.recorder.graph(), plain.recorder.losses());
      for (const auto& [share, hoist] : {std::pair{true, false}, {false, true}, {true, true}}) {
        Recorded other(seed, {.granularity = granularity, .share = share, .hoist = hoist});
        ASSERT_EQ(other.recorder.size(), plain.recorder.size());
        ASSERT_EQ(other.recorder.losses().size(), plain.recorder.losses().size());
        const std::size_t a = plain.recorder.graph().size(), b = other.recorder.graph().size();
        if (!hoist) shared += a - b;
        if (!share) split += b - a;
        const auto values = other.oracle.forward(other.recorder.graph());
        for (CallId call = 0; call < plain.recorder.size(); ++call) {
          const auto& state = plain.program.states[plain.recorder.state(call)];
          for (int field = 0; field < int(state.fields.size()); ++field) {
            const auto [i, at] = plain.recorder.instance(call, field);
            const auto [k, in] = other.recorder.instance(call, field);
            // In double and one by one nothing is summed in another order.
            ASSERT_EQ(values[k][std::size_t(in)], expected[i][std::size_t(at)]) << "call " << call;
          }
        }
        const auto gradients =
            other.oracle.gradients(other.recorder.graph(), other.recorder.losses());
        for (std::size_t p = 0; p < slopes.size(); ++p)
          for (std::size_t i = 0; i < slopes[p].size(); ++i)
            ASSERT_NEAR(gradients[p][i], slopes[p][i],
                        1e-11 * std::max(1.0, std::abs(slopes[p][i])))
                << plain.program.params[p].name;
      }
    }
  }
  EXPECT_GT(shared, 500u);
  EXPECT_GT(split, 20u);
}

}  // namespace
}  // namespace espalier
