// Recording: what a minibatch's calls become, and what is refused.
#include "ir/record/recorder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <ranges>

#include "ir/record/instance_graph.h"
#include "ir/text/parse.h"
#include "ir/text/print.h"
#include "tests/frontend/support.h"

namespace espalier {
namespace {

using test::user_error;

struct State {
  Tensor h, c;
};

struct Net : Model {
  Cell<State(Index)> leaf;
  Cell<State(State, State)> node;
  Cell<State(Index, Children<State>)> many;
  Cell<Tensor(State, Index)> loss;
  Cell<Tensor(State)> top;
  Param embed, w;

  Net() : Model("net") {
    declare_state<State>(Shape{2}, Shape{2});
    embed = param("embed", {10, 2});
    w = param("w", {3, 2});
    leaf = cell("leaf", [=, this](Index word) -> State {
      const Tensor x = row(embed, word);
      return {x, tanh(x)};
    });
    node = cell("node", [](State l, State r) -> State { return {l.h + r.h, l.c * r.c}; });
    many = cell("many", [=, this](Index word, Children<State> kids) -> State {
      return {row(embed, word) + sum_children(kids.h), sum_children(kids.c)};
    });
    loss = cell("loss",
                [=, this](State s, Index label) { return cross_entropy(matmul(w, s.h), label); });
    top = cell("top", [](State s) { return s.h; });
  }
};

struct Recording : testing::TestWithParam<ir::Granularity> {
  Net net;
  ir::Program program = net.program();
  ir::Recorder recorder{program, GetParam()};
  Instances g{recorder};

  void TearDown() override {
    ir::verify(recorder.source());
    ir::verify(recorder.program());
    ir::verify(recorder.graph(), recorder.program());
  }
};

INSTANTIATE_TEST_SUITE_P(Granularities, Recording,
                         testing::Values(ir::Granularity::cell, ir::Granularity::op),
                         [](const auto& info) {
                           return info.param == ir::Granularity::cell ? "cell" : "op";
                         });

TEST_P(Recording, AStateOfAnotherKindIsRefused) {
  const auto leaf = g(net.leaf, 3);
  const auto score = g(net.top, leaf);
  const ir::CallId both[] = {leaf.id, score.id};
  EXPECT_EQ(user_error([&] { recorder.call(net.node.id(), both, {}); }),
            "cell 'node', port 'child2': expected a 'State', found a 'f32[2]'");
  const ir::CallId unknown[] = {leaf.id, 17};
  EXPECT_EQ(user_error([&] { recorder.call(net.node.id(), unknown, {}); }),
            "cell 'node', port 'child2': there is no call 17; 2 are recorded");
  EXPECT_EQ(user_error([&] { recorder.call(net.node.id(), std::span(both, 1), {}); }),
            "cell 'node', port 'child2': expected 1 calls, found 0");
  const std::int32_t index[] = {1};
  EXPECT_EQ(user_error([&] { recorder.call(net.top.id(), std::span(both, 1), index); }),
            "cell 'top': expected 1 calls and 0 indices, found 1 and 1");
  EXPECT_EQ(user_error([&] { recorder.call(net.leaf.id(), {}, {}); }),
            "cell 'leaf', port 'index': an index or a number of children is missing");
  EXPECT_EQ(user_error([&] { g(Cell<State(Index)>(), 3); }),
            "a cell is called that no model has made");
  EXPECT_EQ(user_error([&] { g(Cell<State(Index)>(99), 3); }),
            "program 'net' has no cell 99, only 5");
}

/// A net in which all has the number that it has in Net.
struct Wider : Model {
  Cell<State(Index)> leaf, late;

  Wider() : Model("wider") {
    declare_state<State>(Shape{3}, Shape{3});
    const Param embed = param("embed", {10, 3});
    leaf = cell("leaf", [=](Index word) -> State {
      const Tensor x = row(embed, word);
      return {x, tanh(x)};
    });
  }
};

TEST_P(Recording, ACellOfAnotherModelIsRefused) {
  const auto refused = [](const std::string& program) {
    return "a cell is called that program '" + program +
           "' has not: it is of another model, or was made after the engine";
  };
  Wider wider;
  EXPECT_EQ(wider.leaf.id(), net.leaf.id());
  EXPECT_EQ(user_error([&] { g(wider.leaf, 3); }), refused("net"));
  EXPECT_EQ(g.size(), 0u);
  // Arithmetic outside cells makes cells too.
  ir::Program taken = wider.program();
  ir::Recorder other(taken, GetParam());
  const Instances h(other);
  field(h(wider.leaf, 1), &State::h);
  wider.late =
      wider.cell("late", [](Index) -> State { return {constant(1, {3}), constant(2, {3})}; });
  EXPECT_EQ(user_error([&] { h(wider.late, 1); }), refused("wider"));
  // An equal model is as good.
  const Net twin;
  g(twin.node, g(twin.leaf, 3), g(net.leaf, 4));
}

TEST_P(Recording, AnIndexOutOfItsRowsIsRefused) {
  EXPECT_EQ(user_error([&] { g(net.leaf, 10); }),
            "cell 'leaf', port 'index': found 10, but param 'embed' has 10 rows");
  EXPECT_EQ(user_error([&] { g(net.leaf, -1); }),
            "cell 'leaf', port 'index': found -1, expected no negative number");
  EXPECT_EQ(user_error([&] { g(net.leaf, std::int64_t{1} << 40); }),
            "the index 1099511627776 does not fit in 32 bits");
  const auto leaf = g(net.leaf, 9);
  EXPECT_EQ(user_error([&] { g(net.loss, leaf, 3); }),
            "cell 'loss', port 'index': found 3, but the tensor it chooses from has 3 rows");
  EXPECT_EQ(user_error([&] { g(net.many, 11, std::vector{leaf, leaf}); }),
            "cell 'many', port 'index': found 11, but param 'embed' has 10 rows");
  g(net.loss, leaf, 2);
  g(net.many, 9, std::vector{leaf, leaf});
  EXPECT_EQ(g.size(), 3u);
}

TEST_P(Recording, OneHotBoundsItsIndex) {
  Model model("m");
  const auto hot = model.cell("hot", [](Index i) { return one_hot(i, 4); });
  ir::Program own = model.program();
  ir::Recorder other(own, GetParam());
  const Instances instances(other);
  instances(hot, 3);
  EXPECT_EQ(user_error([&] { instances(hot, 4); }),
            "cell 'hot', port 'index': found 4, but the one-hot vector has 4 rows");
}

TEST_P(Recording, ALossIsOneScalar) {
  const auto leaf = g(net.leaf, 1);
  EXPECT_EQ(user_error([&] { g.loss(leaf); }), "a loss must be one scalar, found a 'State'");
  EXPECT_EQ(user_error([&] { g.loss(g(net.top, leaf)); }),
            "a loss must be one scalar, found a 'f32[2]'");
  const auto loss = g(net.loss, leaf, 0);
  g.loss(loss);
  g.loss(loss);
  const ir::InstanceId instance = recorder.instance(loss.id, 0).first;
  EXPECT_EQ(std::vector(recorder.losses().begin(), recorder.losses().end()),
            (std::vector<ir::InstanceId>{instance, instance}));
}

TEST_P(Recording, CallsEndWithTheirMinibatch) {
  const auto leaf = g(net.leaf, 1);
  const auto score = g(net.top, leaf);
  const Instances before = g;
  recorder.clear();
  EXPECT_EQ(user_error([&] { before(net.leaf, 1); }),
            "the Instances of an earlier minibatch are used: they end when the next one begins");
  g = Instances(recorder);
  EXPECT_EQ(g.size(), 0u);
  EXPECT_EQ(recorder.graph().size(), 0u);
  g(net.leaf, 2);
  const std::string late =
      "a call of an earlier minibatch is used: calls end when the next one begins";
  EXPECT_EQ(user_error([&] { g(net.top, leaf); }), late);
  EXPECT_EQ(user_error([&] { g.loss(score); }), late);
  EXPECT_EQ(user_error([&] { tanh(score); }), late);
  EXPECT_EQ(user_error([&] { field(leaf, &State::h); }), late);
  EXPECT_EQ(user_error([&] { g(net.top, Call<State>()); }), "a call is used that was never made");
  EXPECT_EQ(user_error([&] { tanh(Call<Tensor>()); }), "a Call is used before it was assigned");
  ir::Program own = net.program();
  ir::Recorder other(own);
  EXPECT_EQ(user_error([&] { g(net.top, Instances(other)(net.leaf, 1)); }),
            "a call of another engine's minibatch is used");
}

TEST_P(Recording, ArithmeticOnCallsOfTwoEnginesIsRefused) {
  Model wide("wide");
  Cell<Tensor(Index)> last;
  for (int size = 1; size <= 40; ++size) {  // the last state has a number that `net` lacks
    const Param table = wide.param("table" + std::to_string(size), {3, size});
    last = wide.cell("cell" + std::to_string(size), [=](Index row_number) -> Tensor {
      return sum(row(table, row_number)) * row(table, row_number);
    });
  }
  ir::Program program = wide.program();
  ir::Recorder other(program);
  const auto score = g(net.top, g(net.leaf, 1));
  const auto others = Instances(other)(last, 1);
  const std::size_t cells = recorder.source().cells.size();
  const std::string refused = "a call of another engine's minibatch is used";
  EXPECT_EQ(user_error([&] { score + others; }), refused);
  EXPECT_EQ(user_error([&] { others + score; }), refused);
  EXPECT_EQ(recorder.source().cells.size(), cells);
}

TEST_P(Recording, ARangeOfChildrenMayRecordWhileItIsRead) {
  const std::vector<int> words = {1, 2, 3};
  const auto inner = [&](int word) {
    return g(net.many, word, std::vector{g(net.leaf, word), g(net.leaf, word)});
  };
  const auto all = g(net.many, 0, words | std::views::transform(inner));
  EXPECT_EQ(all.id, 9u);
  EXPECT_EQ(recorder.lists().operands.size(), 0u);
  if (GetParam() == ir::Granularity::cell) {
    const auto operands = recorder.graph().operands(9);
    EXPECT_EQ(std::vector(operands.begin(), operands.end()),
              (std::vector<ir::InstanceId>{2, 5, 8}));
    const auto indices = recorder.graph().indices(9);
    EXPECT_EQ(std::vector(indices.begin(), indices.end()), (std::vector<std::int32_t>{0, 3}));
  }
}

TEST_P(Recording, ArithmeticOutsideCellsIsOneCellAnOp) {
  const auto a = g(net.top, g(net.leaf, 1)), b = g(net.top, g(net.leaf, 2));
  const std::size_t cells = program.cells.size();
  const Call<Tensor> sum = a + b;
  EXPECT_EQ(program.cells.size(), cells + 1);
  const Call<Tensor> product = matmul(net.w, sum) * 2.0;
  EXPECT_EQ(program.cells.size(), cells + 4) << "one of them for numbers";
  EXPECT_EQ(product.shape(), Shape{3});
  b + sum;
  matmul(net.w, a);
  EXPECT_EQ(program.cells.size(), cells + 4) << "equal ops share a cell";
  1.0 - a;
  a - 1.0;
  a - constant(1, {2});
  EXPECT_EQ(program.cells.size(), cells + 7);
  g.loss(cross_entropy(product, 2));
  g.loss(mean(tanh(concat(product, sum))));
  const auto [left, right] = split<2>(a);
  g.loss(row(a, 1) + dot(left, right));
}

TEST_P(Recording, NumbersOutsideCellsAreOperands) {
  const auto a = g(net.top, g(net.leaf, 1));
  2.0 * a;
  const std::size_t cells = program.cells.size();
  for (int i = 0; i < 50; ++i) (0.1 * i) * a;
  EXPECT_EQ(program.cells.size(), cells);
  const ir::Cell& numbers = program.cells[cells - 2];
  EXPECT_EQ(print(numbers, program),
            "cell number() -> \"f32[]\" {\n"
            "  %0 = input(field=0) : f32[]\n"
            "  return %0\n"
            "}\n");
  EXPECT_EQ(ir::parse(print(program)), program);
  EXPECT_EQ(user_error([&] { recorder.call(ir::CellId(cells) - 2, {}, {}); }),
            "cell 'number' holds what is recorded and cannot be called");
}

TEST_P(Recording, OpCellsAreRefusedWithTheOpsOwnWords) {
  const auto a = g(net.top, g(net.leaf, 1));
  const auto cells = program.cells.size();
  EXPECT_EQ(user_error([&] { matmul(net.embed, concat(a, a)); }),
            "matmul: inner dimensions differ: param 'embed' is [10, 2], operand is [4] (outside "
            "cells)");
  EXPECT_EQ(program.cells.size(), cells + 1) << "the concat";
  EXPECT_EQ(user_error([&] { row(a, 2); }),
            "cell 'row', port 'index': found 2, but the tensor it chooses from has 2 rows");
  Model other("other");
  const Param foreign = other.param("p", {7});
  EXPECT_EQ(user_error([&] { a + foreign; }), "add: program 'net' has no such param");
}

TEST_P(Recording, AFieldIsACallOfItsOwn) {
  const auto leaf = g(net.leaf, 4);
  const Call<Tensor> h = field(leaf, &State::h), c = field(leaf, &State::c);
  field(leaf, &State::c);
  const ir::Cell& cell = program.cells.back();
  EXPECT_EQ(cell.name, "field_2");
  EXPECT_EQ(print(cell, program),
            "cell field_2(child: child State) -> \"f32[2]\" {\n"
            "  %0 = port child.1 : f32[2]\n"
            "  return %0\n"
            "}\n");
  if (GetParam() == ir::Granularity::op) {
    EXPECT_EQ(recorder.instance(h.id, 0), recorder.instance(leaf.id, 0));
    EXPECT_EQ(recorder.instance(c.id, 0), recorder.instance(leaf.id, 1));
  }
  h + c;
}

TEST_P(Recording, EveryInstanceOfACallHasItsStream) {
  g.begin_example(7);
  const auto leaf = g(net.leaf, 1);
  g(net.many, 2, std::vector{leaf, leaf});
  g.begin_example(9);
  const auto second = g(net.leaf, 1);
  const auto stream = [&](const ir::CallHandle& call, int field) {
    return recorder.graph().stream(recorder.instance(call.id, field).first);
  };
  EXPECT_EQ(stream(leaf, 1).example, 7u);
  EXPECT_EQ(stream(leaf, 1).call, 0u);
  EXPECT_EQ(stream(recorder.handle(1), 0).call, 1u);
  EXPECT_EQ(stream(recorder.handle(1), 1).call, 1u);
  EXPECT_EQ(stream(second, 0).example, 9u);
  EXPECT_EQ(stream(second, 0).call, 0u);
  EXPECT_EQ(recorder.graph().examples(), 2u);
}

}  // namespace
}  // namespace espalier
