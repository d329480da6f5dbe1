// What tracing a body gives, as text.
#include <gtest/gtest.h>

#include "ir/text/print.h"
#include "tests/frontend/support.h"

namespace espalier {
namespace {

using test::Scratch;

struct Pair {
  Tensor h, c;
};
struct Wide {
  Tensor a, b, c, d, e, f, g, h;
};

std::string print_cell(const Model& model, std::size_t cell) {
  ir::verify(model.program());
  return print(model.program().cells[cell], model.program());
}

TEST(Trace, PortsComeFromTheParameters) {
  Model model("m");
  model.declare_state<Pair>(Shape{2}, Shape{3});
  const Cell<Pair(Index, Pair, Pair)> cell = model.cell(
      "join",
      [](Index, const Pair& l, const Pair& r) -> Pair { return {.h = l.h + r.h, .c = l.c}; });
  EXPECT_EQ(cell.id(), 0);
  EXPECT_EQ(print_cell(model, 0),
            "cell join(index: index, child1: child Pair, child2: child Pair) -> Pair {\n"
            "  %0 = port child1.0 : f32[2]\n"
            "  %1 = port child1.1 : f32[3]\n"
            "  %2 = port child2.0 : f32[2]\n"
            "  %3 = add(%0, %2) : f32[2]\n"
            "  return %3, %1\n"
            "}\n");
}

TEST(Trace, ChildrenGiveValuesPerChild) {
  Model model("m");
  model.declare_state<Pair>(Shape{2}, Shape{2});
  const Param u = model.param("u", {2, 2});
  model.cell("sum", [=](Children<Pair> kids) -> Tensor {
    return sum_children(matmul(u, kids.h) * kids.c);
  });
  EXPECT_EQ(print_cell(model, 0),
            "cell sum(children: children Pair) -> \"f32[2]\" {\n"
            "  %0 = port children.0 : f32[2]*children\n"
            "  %1 = port children.1 : f32[2]*children\n"
            "  %2 = param u : f32[2, 2]\n"
            "  %3 = matmul(%2, %0) : f32[2]*children\n"
            "  %4 = mul(%3, %1) : f32[2]*children\n"
            "  %5 = sum_children(%4) : f32[2]\n"
            "  return %5\n"
            "}\n");
}

TEST(Trace, TensorPortsTakeTheGivenShapes) {
  Model model("m");
  const Cell<Tensor(Tensor, Children<Tensor>, Index)> cell =
      model.cell("mix", {{3}, {3, 1}}, [](Tensor x, Children<Tensor> kids, Index i) {
        const Tensor chosen = row(x, i);  // of two operands C++ may evaluate either first
        return chosen + sum(sum_children(kids));
      });
  EXPECT_EQ(cell.id(), 0);
  EXPECT_EQ(print_cell(model, 0),
            "cell mix(child: child \"f32[3]\", children: children \"f32[3, 1]\", index: index) "
            "-> \"f32[]\" {\n"
            "  %0 = port child.0 : f32[3]\n"
            "  %1 = port children.0 : f32[3, 1]*children\n"
            "  %2 = port index : i32[]\n"
            "  %3 = row(%0, %2) : f32[]\n"
            "  %4 = sum_children(%1) : f32[3, 1]\n"
            "  %5 = reshape(%4) : f32[3]\n"
            "  %6 = sum(%5, axis=0) : f32[]\n"
            "  %7 = add(%3, %6) : f32[]\n"
            "  return %7\n"
            "}\n");
}

TEST(Trace, ConstantsAreFreeUntilTheyMeetACell) {
  Model model("m");
  model.declare_state<Pair>(Shape{2}, Shape{2});
  const Tensor two = constant(2, {2});
  model.cell("start", [=] { return Pair{constant(0, {2}), two}; });
  model.cell("step", [=](const Pair& s) { return Pair{two * s.h, 1.0 - s.c}; });
  EXPECT_EQ(print_cell(model, 0),
            "cell start() -> Pair {\n"
            "  %0 = constant(value=0) : f32[2]\n"
            "  %1 = constant(value=2) : f32[2]\n"
            "  return %0, %1\n"
            "}\n");
  EXPECT_EQ(print_cell(model, 1),
            "cell step(child: child Pair) -> Pair {\n"
            "  %0 = port child.0 : f32[2]\n"
            "  %1 = port child.1 : f32[2]\n"
            "  %2 = constant(value=2) : f32[2]\n"
            "  %3 = mul(%2, %0) : f32[2]\n"
            "  %4 = constant(value=1) : f32[]\n"
            "  %5 = broadcast(%4) : f32[2]\n"
            "  %6 = sub(%5, %1) : f32[2]\n"
            "  return %3, %6\n"
            "}\n");
}

TEST(Trace, DropoutOfConstantsIsFreeUntilItMeetsACell) {
  Model model("m");
  const Tensor drawn = 2.0 - dropout(constant(1, {2}), 0.5);
  EXPECT_EQ(drawn.shape(), Shape{2});
  const char* expected =
      "() -> \"f32[2]\" {\n"
      "  %0 = constant(value=2) : f32[]\n"
      "  %1 = constant(value=1) : f32[2]\n"
      "  %2 = dropout_mask(mask=0, rate=0.5) : f32[2]\n"
      "  %3 = mul(%1, %2) : f32[2]\n"
      "  %4 = broadcast(%0) : f32[2]\n"
      "  %5 = sub(%4, %3) : f32[2]\n"
      "  %6 = mul(%5, %5) : f32[2]\n"
      "  return %6\n"
      "}\n";
  // The same tensor is one draw in a cell, and each cell draws its own.
  model.cell("a", [=] { return drawn * drawn; });
  model.cell("b", [=] { return drawn * drawn; });
  std::string a = print_cell(model, 0), b = print_cell(model, 1);
  EXPECT_EQ(a, std::string("cell a") + expected);
  EXPECT_EQ(b, std::string("cell b") + expected);
  model.cell("two", [] { return dropout(constant(1, {2}), 0.5) + dropout(constant(1, {2}), 0.5); });
  EXPECT_NE(print_cell(model, 2).find("dropout_mask(mask=1"), std::string::npos);
  EXPECT_EQ(test::user_error([] { dropout(constant(1, {2}), 1.5); }),
            "dropout: the rate must lie in [0, 1), found 1.5 (outside cells)");
}

TEST(Trace, ParamsHaveInitialisersByRank) {
  Model model("m");
  model.param("w", {2, 3});
  model.param("b", {2});
  model.param("scale", {});
  const Param e = model.param("e", {5, 2}, Initializer::uniform(0.05));
  const auto& params = model.program().params;
  EXPECT_EQ(params[0].initializer, Initializer::glorot());
  EXPECT_EQ(params[1].initializer, Initializer::constant(0));
  EXPECT_EQ(params[2].initializer, Initializer::constant(0));
  EXPECT_EQ(params[3].initializer, Initializer::uniform(0.05));
  EXPECT_EQ(e.name(), "e");
  EXPECT_EQ(e.shape(), (Shape{5, 2}));
  EXPECT_EQ(e.id(), 3);
}

TEST(Trace, StatesHaveUpToEightFields) {
  Model model("m");
  model.declare_state<Wide>(Shape{1}, Shape{2}, Shape{3}, Shape{4}, Shape{5}, Shape{6}, Shape{7},
                            Shape{8});
  model.cell("pass", [](const Wide& w) { return w; });
  EXPECT_EQ(model.program().states[0].name, "Wide");
  const ir::Cell& cell = model.program().cells[0];
  ASSERT_EQ(cell.outputs.size(), 8u);
  for (int field = 0; field < 8; ++field) {
    EXPECT_EQ(cell.graph[cell.outputs[field]].attributes.ints[1], field);
    EXPECT_EQ(cell.graph[cell.outputs[field]].type.shape, Shape{field + 1});
  }
}

TEST(Trace, TensorStatesAreSharedByShape) {
  Model model("m");
  const Param p = model.param("p", {4});
  model.cell("a", [=] { return tanh(p); });
  model.cell("b", [=] { return exp(p); });
  model.cell("c", [=] { return sum(p); });
  const ir::Program& program = model.program();
  ASSERT_EQ(program.states.size(), 2u);
  EXPECT_EQ(program.states[0].name, "f32[4]");
  EXPECT_EQ(program.cells[0].state, program.cells[1].state);
  EXPECT_EQ(program.states[program.cells[2].state].name, "f32[]");
}

TEST(Trace, TwoStructsOfOneNameAreTwoStates) {
  struct Inner {
    struct Pair {
      Tensor x;
    };
  };
  Model model("m");
  model.declare_state<Pair>(Shape{2}, Shape{2});
  model.declare_state<Inner::Pair>(Shape{3});
  EXPECT_EQ(model.program().states[0].name, "Pair");
  EXPECT_EQ(model.program().states[1].name, "Pair_2");
  EXPECT_NO_THROW(ir::verify(model.program()));
}

TEST(Trace, AModelCanBeMoved) {
  Scratch first;
  const Param p = first.param("p", {2});
  Model second(std::move(first));
  second.cell("a", [=] { return p * 2.0; });
  EXPECT_EQ(second.program().cells.size(), 1u);
}

TEST(Trace, AFailedBodyLeavesNothingBehind) {
  Scratch model;
  const Param w = model.param("w", {2, 3});
  const std::string before = print(model.program());
  EXPECT_THROW(model.cell("bad", {{7}}, [=](Tensor x) { return matmul(w, x); }), UserError);
  struct Stop {};
  EXPECT_THROW(model.cell("bad", {{3}},
                          [=](Tensor x) -> Tensor {
                            matmul(w, x);
                            throw Stop();
                          }),
               Stop);
  EXPECT_EQ(print(model.program()), before);
  model.cell("bad", {{3}}, [=](Tensor x) { return matmul(w, x); });
  EXPECT_NO_THROW(ir::verify(model.program()));
}

}  // namespace
}  // namespace espalier
