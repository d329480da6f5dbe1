// The same model recorded at both granularities gives the same numbers, masks and gradients.
#include "ir/passes/expand.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "ir/record/recorder.h"
#include "ir/text/print.h"
#include "tests/frontend/support.h"

namespace espalier {
namespace {

using test::Oracle;

constexpr int kSize = 3, kWords = 5, kClasses = 4;

struct State {
  Tensor h, c;
};

/// Cells that use what an expansion has to look after.
struct Zoo : Model {
  Cell<State(Index)> leaf;
  Cell<State(State, State)> node, swap;
  Cell<State(Index, Children<State>)> attend;
  Cell<State()> start;
  Cell<Tensor(State, Index)> loss, pick;
  Cell<Tensor(Children<State>)> count;

  Zoo() : Model("zoo") {
    declare_state<State>(Shape{kSize}, Shape{kSize});
    const Param embed = param("embed", {kWords, kSize}), u = param("u", {2 * kSize, 2 * kSize});
    const Param w = param("w", {kSize, kSize}), b = param("b", {kSize});
    const Param out = param("out", {kSize, kClasses});
    leaf = cell("leaf", [=](Index word) -> State {
      const Tensor x = row(embed, word);
      return {dropout(x, 0.4), dropout(tanh(x), 0.4)};
    });
    node = cell("node", [=](State l, State r) -> State {
      auto [f, g] = split<2>(matmul(u, concat(l.h, r.h)));
      return {sigmoid(f) * l.c + sigmoid(g) * r.c * r.c, layer_norm(f * g, b, b)};
    });
    swap = cell("swap", [=](State l, State r) -> State { return {r.c, l.h}; });
    attend = cell("attend", [=](Index word, Children<State> kids) -> State {
      const Tensor x = row(embed, word);
      const Tensor score = softmax_children(dot(tanh(matmul(w, kids.h) + x), kids.c));
      const Tensor h = sum_children(score * dropout(kids.h, 0.3)) + sum_children(x * kids.c * 0.5);
      return {h + x, mean_children(kids.c) + sum_children(b + 0 * kids.h)};
    });
    start = cell("start", [=]() -> State { return {constant(0.5, {kSize}), slice(b, 0, kSize)}; });
    loss = cell("loss", [=](State s, Index label) {
      return cross_entropy(matmul(transpose(out), s.h * s.c), label);
    });
    pick = cell("pick", [=](State s, Index i) {
      return row(s.h, i) * sum(one_hot(i, kSize) * s.c) + squared_error(mean(s.h), max_over(s.c));
    });
    count = cell("count", [=](Children<State> kids) -> Tensor {
      return sum_children(0 * sum(kids.h, 0) + 1) * sum(mean_children(kids.h) * b);
    });
  }
};

/// A random minibatch; the same for the same seed, whatever the granularity.
std::vector<ir::CallHandle> record(const Zoo& zoo, const Instances& g, unsigned seed) {
  std::mt19937 random(seed);
  const auto below = [&](std::size_t n) { return static_cast<int>(random() % n); };
  std::vector<ir::CallHandle> calls;
  for (int example = 0; example < 3; ++example) {
    g.begin_example(100 + example);
    std::vector<Call<State>> states = {g(zoo.start), g(zoo.leaf, below(kWords))};
    const auto pick = [&] { return states[static_cast<std::size_t>(below(states.size()))]; };
    for (int i = 0; i < 12; ++i) {
      const auto a = pick(), b = pick();
      switch (below(5)) {
        case 0:
          states.push_back(g(zoo.leaf, below(kWords)));
          break;
        case 1:
          states.push_back(g(zoo.node, a, b));
          break;
        case 2:
          states.push_back(g(zoo.swap, a, b));
          break;
        default:
          std::vector<Call<State>> kids(static_cast<std::size_t>(below(4)));
          std::ranges::generate(kids, pick);
          states.push_back(g(zoo.attend, below(kWords), kids));
          g.loss(g(zoo.count, kids));
      }
    }
    for (const auto& state : states) {
      g.loss(g(zoo.loss, state, below(kClasses)));
      g.loss(g(zoo.pick, state, below(kSize)));
      calls.push_back(state);
    }
    const auto h = field(pick(), &State::h), c = field(pick(), &State::c);
    const auto extra = dot(tanh(h) - 2 * c, h) + cross_entropy(h, 1);
    g.loss(extra);
    calls.push_back(extra);
  }
  return calls;
}

/// Any fixed function of where a mask is.
double mask(const ir::InstanceGraph::Stream& stream, int number, double probability,
            std::int64_t position) {
  std::seed_seq seed{static_cast<std::uint32_t>(stream.example), stream.call, stream.element,
                     static_cast<std::uint32_t>(number), static_cast<std::uint32_t>(position)};
  std::mt19937 random(seed);
  return random() < probability * 4294967296.0 ? 0 : 1 / (1 - probability);
}

struct Recorded {
  ir::Program program;
  ir::Recorder recorder;
  std::vector<ir::CallHandle> calls;
  Oracle oracle;

  Recorded(const Zoo& zoo, ir::Granularity granularity, unsigned seed)
      : program(zoo.program()),
        recorder(program, granularity),
        calls(record(zoo, Instances(recorder), seed)),
        oracle(recorder.program(), test::random_params(program, 5), mask) {
    ir::verify(recorder.program());
    ir::verify(recorder.graph(), recorder.program());
  }
};

void expect_near(const std::vector<double>& a, const std::vector<double>& b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i)
    EXPECT_NEAR(a[i], b[i], tolerance * std::max(1.0, std::fabs(b[i]))) << "element " << i;
}

class Granularities : public testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Seeds, Granularities, testing::Range(0u, 4u));

TEST_P(Granularities, GiveTheSameValues) {
  const Zoo zoo;
  Recorded cells(zoo, ir::Granularity::cell, GetParam()), ops(zoo, ir::Granularity::op, GetParam());
  ASSERT_EQ(cells.recorder.size(), ops.recorder.size());
  const auto by_cell = cells.oracle.forward(cells.recorder.graph());
  const auto by_op = ops.oracle.forward(ops.recorder.graph());
  for (ir::CallId call = 0; call < cells.recorder.size(); ++call) {
    const auto fields = cells.program.states[cells.recorder.state(call)].fields.size();
    for (int field = 0; field < static_cast<int>(fields); ++field) {
      const auto [i, at] = cells.recorder.instance(call, field);
      const auto [k, zero] = ops.recorder.instance(call, field);
      EXPECT_EQ(zero, 0);
      SCOPED_TRACE("call " + std::to_string(call));
      expect_near(by_op[k][0], by_cell[i][static_cast<std::size_t>(at)], 1e-13);
    }
  }
}

TEST_P(Granularities, GiveTheSameGradients) {
  const Zoo zoo;
  Recorded cells(zoo, ir::Granularity::cell, GetParam()), ops(zoo, ir::Granularity::op, GetParam());
  const auto by_cell = cells.oracle.gradients(cells.recorder.graph(), cells.recorder.losses(), 0.5);
  const auto by_op = ops.oracle.gradients(ops.recorder.graph(), ops.recorder.losses(), 0.5);
  for (std::size_t param = 0; param < by_cell.size(); ++param) {
    SCOPED_TRACE(zoo.program().params[param].name);
    expect_near(by_op[param], by_cell[param], 1e-11);
  }
}

TEST_P(Granularities, HaveTheGradientOfTheLoss) {
  const Zoo zoo;
  for (const auto granularity : {ir::Granularity::cell, ir::Granularity::op}) {
    Recorded run(zoo, granularity, GetParam());
    const auto& graph = run.recorder.graph();
    auto params = test::random_params(run.program, 5);
    const auto gradients = run.oracle.gradients(graph, run.recorder.losses());
    std::mt19937 random(GetParam());
    for (int sample = 0; sample < 8; ++sample) {
      const std::size_t param = random() % params.size();
      const std::size_t i = random() % params[param].size();
      const double before = params[param][i], step = 1e-5;
      const auto at = [&](double value) {
        params[param][i] = value;
        const Oracle moved(run.recorder.program(), params, mask);
        return moved.loss(graph, run.recorder.losses());
      };
      const double slope = (at(before + step) - at(before - step)) / (2 * step);
      params[param][i] = before;
      EXPECT_NEAR(gradients[param][i], slope, 1e-6 * std::max(1.0, std::fabs(slope)))
          << run.program.params[param].name << "[" << i << "]";
    }
  }
}

TEST(Expansion, IsOneCellForEqualOps) {
  Model model("m");
  const Param w = model.param("w", {2, 2});
  const auto a = model.cell("a", {{2}}, [=](Tensor x) { return tanh(matmul(w, tanh(x))); });
  const auto b =
      model.cell("b", {{2}, {2}}, [=](Tensor x, Tensor y) { return tanh(y) * tanh(y) + tanh(x); });
  const ir::Expansion expansion(model.program());
  EXPECT_EQ(print(expansion.program()),
            "program m\n\n"
            "param w [2, 2] glorot\n\n"
            "state \"f32[2]\" f32[2]\n\n"
            "cell tanh(child: child \"f32[2]\") -> \"f32[2]\" {\n"
            "  %0 = port child.0 : f32[2]\n"
            "  %1 = tanh(%0) : f32[2]\n"
            "  return %1\n"
            "}\n\n"
            "cell matmul_w(child: child \"f32[2]\") -> \"f32[2]\" {\n"
            "  %0 = param w : f32[2, 2]\n"
            "  %1 = port child.0 : f32[2]\n"
            "  %2 = matmul(%0, %1) : f32[2]\n"
            "  return %2\n"
            "}\n\n"
            "cell mul(child: child \"f32[2]\") -> \"f32[2]\" {\n"
            "  %0 = port child.0 : f32[2]\n"
            "  %1 = mul(%0, %0) : f32[2]\n"
            "  return %1\n"
            "}\n\n"
            "cell add(child1: child \"f32[2]\", child2: child \"f32[2]\") -> \"f32[2]\" {\n"
            "  %0 = port child1.0 : f32[2]\n"
            "  %1 = port child2.0 : f32[2]\n"
            "  %2 = add(%0, %1) : f32[2]\n"
            "  return %2\n"
            "}\n");
  EXPECT_EQ(expansion.templates()[static_cast<std::size_t>(a.id())].steps.size(), 3u);
  EXPECT_EQ(expansion.templates()[static_cast<std::size_t>(b.id())].steps.size(), 4u);
}

TEST(Expansion, ChildrenAreRepeatedOrCombined) {
  Model model("m");
  model.declare_state<State>(Shape{2}, Shape{2});
  const Param w = model.param("w", {2, 2});
  const auto cell = model.cell("a", [=](Children<State> kids) -> State {
    return {sum_children(matmul(w, kids.h)), mean_children(kids.c)};
  });
  ir::Program program = model.program();
  ir::Recorder recorder(program, ir::Granularity::op);
  const Instances g(recorder);
  const auto empty = g(cell, std::vector<Call<State>>{});
  const std::size_t before = recorder.graph().size();
  g(cell, std::vector{empty, empty, empty});
  const ir::Program& ops = recorder.program();
  std::vector<std::string> names;
  for (std::size_t i = before; i < recorder.graph().size(); ++i) {
    const auto instance = static_cast<ir::InstanceId>(i);
    names.push_back(ops.cells[recorder.graph().cell(instance)].name);
    EXPECT_EQ(recorder.graph().stream(instance).call, 1u);
    EXPECT_EQ(recorder.graph().stream(instance).element,
              names.back() == "matmul_w" ? i - before : 0u);
  }
  std::ranges::sort(names);  // of two operands C++ may evaluate either first
  EXPECT_EQ(names,
            (std::vector<std::string>{"broadcast", "div", "matmul_w", "matmul_w", "matmul_w", "max",
                                      "sum_children", "sum_children", "sum_children_2"}))
      << "the second sum counts: it reads the children for their number only";
}

TEST(Expansion, PortsAndRepeatedValuesAreNoInstances) {
  Model model("m");
  model.declare_state<State>(Shape{2}, Shape{2});
  const auto make =
      model.cell("make", []() -> State { return {constant(1, {2}), constant(2, {2})}; });
  const auto turn = model.cell("turn", [](State s) -> State { return {s.c, s.c}; });
  ir::Program program = model.program();
  ir::Recorder recorder(program, ir::Granularity::op);
  const Instances g(recorder);
  const auto made = g(make), turned = g(turn, made);
  EXPECT_EQ(recorder.graph().size(), 2u);
  EXPECT_EQ(recorder.instance(turned.id, 0), recorder.instance(made.id, 1));
  EXPECT_EQ(recorder.instance(turned.id, 1), recorder.instance(made.id, 1));
}

}  // namespace
}  // namespace espalier
