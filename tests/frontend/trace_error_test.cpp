// What a user is told whose cell cannot be: which op or port, what was found, what was expected.
#include <gtest/gtest.h>

#include "tests/frontend/support.h"

namespace espalier {
namespace {

using test::user_error;

struct Pair {
  Tensor h, c;
};

struct TraceError : testing::Test {
  Model model{"m"};
  Param w = model.param("w", {10, 300});
  void SetUp() override { model.declare_state<Pair>(Shape{150}, Shape{150}); }

  template <class Body>
  std::string of(const Body& body) {
    return user_error([&] { model.cell("node", body); });
  }
};

TEST_F(TraceError, ShapesNameParamsAndPorts) {
  EXPECT_EQ(of([=, this](Pair l) { return matmul(w, l.h); }),
            "matmul: inner dimensions differ: param 'w' is [10, 300], field 0 of port 'child' is "
            "[150] (in cell 'node')");
  EXPECT_EQ(of([=, this](Pair l) { return matmul(w, tanh(l.h)); }),
            "matmul: inner dimensions differ: param 'w' is [10, 300], operand is [150] (in "
            "cell 'node')");
  EXPECT_EQ(of([](Pair l, Pair r) { return concat(l.h, r.c) + l.h; }),
            "add: shapes differ: operand is [300], field 0 of port 'child1' is [150] (in cell "
            "'node')");
  EXPECT_EQ(
      user_error([&] { model.cell("node", {{4}}, [=, this](Tensor x) { return matmul(w, x); }); }),
      "matmul: inner dimensions differ: param 'w' is [10, 300], port 'child' is [4] (in cell "
      "'node')");
}

TEST_F(TraceError, AxesAndParts) {
  EXPECT_EQ(of([](Pair l) { return sum(l.h, 1); }),
            "sum: axis 1 does not exist: operand 'x' is [150]");
  EXPECT_EQ(of([](Pair l) { return split<4>(l.h)[0]; }),
            "split: axis 0 cannot be split into 4 equal parts: operand 'x' is [150]");
  EXPECT_EQ(of([](Pair l) { return slice(l.h, 149, 2); }),
            "slice: elements 149 to 150 of axis 0 do not exist: operand 'x' is [150]");
  EXPECT_EQ(of([](Pair l) { return softmax(reshape(l.h, {2, 3, 25}), 0); }),
            "softmax: axis 0 is neither the last nor the first of a matrix: [2, 3, 25]");
}

TEST_F(TraceError, ResultsMustBeTheDeclaredState) {
  EXPECT_EQ(of([](Pair l) { return Pair{l.h, concat(l.h, l.c)}; }),
            "cell 'node' returns a 'Pair' whose field 1 is [300], declared [150]");
  EXPECT_EQ(of([](Pair l) { return Pair{.h = l.h, .c = {}}; }),
            "cell 'node' returns a Tensor that was never assigned");
  EXPECT_EQ(of([](Pair) { return Tensor(); }),
            "cell 'node' returns a Tensor that was never assigned");
  EXPECT_EQ(of([](Children<Pair> kids) { return Pair{kids.h, sum_children(kids.c)}; }),
            "cell 'node' returns a 'Pair' whose field 0 exists once per child: combine it first, "
            "e.g. with sum_children");
}

TEST_F(TraceError, StatesMustBeDeclared) {
  struct Other {
    Tensor x;
  };
  EXPECT_EQ(of([](Other o) { return o.x; }),
            "cell 'node' uses the state 'Other', whose shapes are not declared: call declare_state "
            "first");
  EXPECT_EQ(of([](Pair p) { return Other{p.h}; }),
            "cell 'node' uses the state 'Other', whose shapes are not declared: call declare_state "
            "first");
  EXPECT_EQ(user_error([&] { model.declare_state<Pair>(Shape{1}, Shape{1}); }),
            "model 'm': state 'Pair' is already declared");
}

TEST_F(TraceError, NamesAreUnique) {
  model.cell("leaf", [=, this] { return w + 1.0; });
  EXPECT_EQ(user_error([&] { model.cell("leaf", [=, this] { return w + 1.0; }); }),
            "model 'm' already has a cell 'leaf'");
  EXPECT_EQ(user_error([&] { model.param("w", {3}); }), "model 'm' already has a param 'w'");
  EXPECT_EQ(user_error([&] { model.param("a b", {3}); }),
            "the name of a param has only letters, digits and '_-.', found 'a b'");
  EXPECT_EQ(user_error([&] { Model(""); }),
            "the name of a model has only letters, digits and '_-.', found ''");
}

TEST_F(TraceError, TensorPortsNeedShapes) {
  EXPECT_EQ(of([](Tensor x) { return x; }),
            "cell 'node' has 1 parameters of type Tensor or Children<Tensor>, but 0 shapes are "
            "given");
}

TEST_F(TraceError, ParamsAndTensorsBelongToABody) {
  EXPECT_EQ(user_error([&] { tanh(w); }),
            "param 'w' is used outside of the body of a cell of 'm', and without a call");
  Model other("other");
  EXPECT_EQ(user_error([&] { other.cell("a", [&] { return tanh(w); }); }),
            "param 'w' is used outside of the body of a cell of 'm', and without a call");
  EXPECT_EQ(user_error([&] { tanh(Param()); }),
            "a Param is used that was not made with "
            "Model::param");
  Tensor kept;
  model.cell("keeps", [&](Pair l) {
    kept = l.h;
    return l;
  });
  EXPECT_EQ(of([&](Pair l) { return l.h + kept; }),
            "add: an operand comes from the body of cell 'keeps', which was traced before");
  EXPECT_EQ(of([&](Pair l) { return Pair{l.h, kept}; }),
            "cell 'node' returns a 'Pair' whose field 1 comes from the body of cell 'keeps'");
  EXPECT_EQ(user_error([&] { tanh(kept); }),
            "tanh: an operand comes from the body of cell 'keeps', which was traced before");
  EXPECT_EQ(of([&](Pair l) {
              other.cell("b", {{2}}, [&](Tensor x) { return x + l.h; });
              return l;
            }),
            "add: operands belong to two cells, 'b' and 'node'");
  EXPECT_EQ(of([&](Pair l) {
              model.cell("inside", [&](Pair x) { return x; });
              return l;
            }),
            "cell 'inside' is made inside the body of cell 'node'");
  EXPECT_EQ(of([&](Pair l) { return l.h + Tensor(); }),
            "add: an operand is a Tensor that was never assigned");
  EXPECT_EQ(of([&](Pair) { return tanh(constant(1)); }),
            "tanh: all operands are constants; compute the number in C++ and make it a constant");
}

TEST_F(TraceError, ChildrenOfTwoPortsDoNotMeet) {
  EXPECT_EQ(of([](Children<Pair> a, Children<Pair> b) { return sum_children(a.h + b.h); }),
            "add: operands belong to the children of different ports: field 0 of port 'children1' "
            "is [150], field 0 of port 'children2' is [150] (in cell 'node')");
  EXPECT_EQ(of([](Pair a) { return sum_children(a.h); }),
            "sum_children: expected a value per child: field 0 of port 'child' is [150] (in cell "
            "'node')");
}

}  // namespace
}  // namespace espalier
