// Every op of the table can be written, and the functions that are more than one op compute what
// they say.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "ir/op.h"
#include "ir/record/recorder.h"
#include "tests/frontend/support.h"

namespace espalier {
namespace {

using test::Scratch;

struct Sample {
  Param vector, other, matrix, form;
  Index index;
  Children<Tensor> kids;  // [3]
};

using Write = std::function<Tensor(const Sample&)>;

/// A body for each op that is no leaf.
std::map<std::string, Write, std::less<>> bodies() {
  std::map<std::string, Write, std::less<>> table;
  const auto add = [&](std::string name, Write body) { table.emplace(name, std::move(body)); };
  add("add", [](const Sample& s) { return s.vector + s.other; });
  add("sub", [](const Sample& s) { return 1 - s.other; });
  add("mul", [](const Sample& s) { return s.vector * 2.0; });
  add("div", [](const Sample& s) { return s.vector / s.other; });
  add("max", [](const Sample& s) { return max(s.vector, 0.0); });
  add("min", [](const Sample& s) { return min(s.vector, s.other); });
  add("neg", [](const Sample& s) { return -s.vector; });
  add("abs", [](const Sample& s) { return abs(s.vector); });
  add("exp", [](const Sample& s) { return exp(s.vector); });
  add("log", [](const Sample& s) { return log(s.vector); });
  add("sqrt", [](const Sample& s) { return sqrt(s.vector); });
  add("tanh", [](const Sample& s) { return tanh(s.vector); });
  add("sigmoid", [](const Sample& s) { return sigmoid(s.vector); });
  add("relu", [](const Sample& s) { return relu(s.vector); });
  add("softplus", [](const Sample& s) { return softplus(s.vector); });
  add("gelu", [](const Sample& s) { return gelu(s.vector); });
  add("stop_gradient", [](const Sample& s) { return stop_gradient(s.vector); });
  add("less", [](const Sample& s) { return less(s.vector, 0.5); });
  add("equal", [](const Sample& s) { return equal(s.vector, s.other); });
  add("where", [](const Sample& s) { return where(less(s.vector, 0.0), s.vector, 0.0); });
  add("sum", [](const Sample& s) { return sum(s.matrix); });
  add("max_over", [](const Sample& s) { return max_over(s.matrix, 1); });
  add("sum_children", [](const Sample& s) { return sum_children(s.kids); });
  add("max_children", [](const Sample& s) { return max_children(s.kids); });
  add("slice", [](const Sample& s) { return slice(s.matrix, 1, 2, -1); });
  add("concat", [](const Sample& s) { return concat(s.vector, s.other); });
  add("reshape", [](const Sample& s) { return reshape(s.matrix, {6}); });
  add("transpose", [](const Sample& s) { return transpose(s.matrix); });
  add("broadcast", [](const Sample& s) { return broadcast(s.vector, {4, 3}); });
  add("per_child", [](const Sample& s) { return sum_children(s.kids * s.vector); });
  add("row", [](const Sample& s) { return row(s.matrix, s.index); });
  add("matmul", [](const Sample& s) { return matmul(s.matrix, s.vector); });
  add("outer", [](const Sample& s) { return outer(s.vector, s.other); });
  add("softmax", [](const Sample& s) { return softmax(s.vector); });
  add("log_softmax", [](const Sample& s) { return log_softmax(s.vector); });
  add("softmax_children", [](const Sample& s) { return sum_children(softmax_children(s.kids)); });
  add("mean", [](const Sample& s) { return mean(s.matrix, 0); });
  add("mean_children", [](const Sample& s) { return mean_children(s.kids); });
  add("one_hot", [](const Sample& s) { return one_hot(s.index, 5); });
  add("cross_entropy", [](const Sample& s) { return cross_entropy(s.vector, s.index); });
  add("binary_cross_entropy",
      [](const Sample& s) { return binary_cross_entropy(s.vector, s.other); });
  add("squared_error", [](const Sample& s) { return squared_error(s.vector, s.other); });
  add("layer_norm", [](const Sample& s) { return layer_norm(s.matrix, s.vector, s.other); });
  add("bilinear", [](const Sample& s) { return bilinear(s.form, s.vector, s.other); });
  add("dropout", [](const Sample& s) { return dropout(s.vector, 0.5); });
  return table;
}

TEST(Ops, EveryOpOfTheTableCanBeWritten) {
  Scratch model;
  Sample sample;
  sample.vector = model.param("vector", {3});
  sample.other = model.param("other", {3});
  sample.matrix = model.param("matrix", {2, 3});
  sample.form = model.param("form", {2, 3, 3});
  const auto table = bodies();
  for (const ir::Op& op : ir::ops()) {
    if (op.kind == ir::OpClass::leaf) continue;
    SCOPED_TRACE(op.name);
    const auto body = table.find(op.name);
    ASSERT_NE(body, table.end()) << "write it in frontend/ops.h, and here";
    const auto cell =
        model.cell(std::string(op.name), {{3}}, [&](Index index, Children<Tensor> kids) {
          sample.index = index;
          sample.kids = kids;
          return body->second(sample);
        });
    const auto nodes = model.program().cells[cell.id()].graph.nodes();
    if (op.kind != ir::OpClass::composite) {
      EXPECT_TRUE(std::ranges::any_of(nodes, [&](const ir::Node& node) { return node.op == &op; }));
    }
  }
  EXPECT_NO_THROW(ir::verify(model.program()));
}

struct OpValues : testing::Test {
  Scratch model;
  Param x = model.param("x", {2, 3}), v = model.param("v", {4});
  const test::Oracle::Tensors values = {{1, -2, 3, 4, 5, -6}, {1, 2, 3, 4}};

  template <class Body>
  void expect(const Body& body, const std::vector<double>& expected) {
    const std::vector<double> found = model.evaluate(values, body);
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-12) << i;
  }
};

TEST_F(OpValues, LossesElementByElementAreBroadcast) {
  expect([=, this] { return squared_error(x, reshape(sum(x, 1), {2, 1})); }, {1, 16, 1, 1, 4, 81});
  expect([=, this] { return squared_error(x, 1.0); }, {0, 9, 4, 9, 16, 49});
  expect([=, this] { return squared_error(2.0, slice(x, 0, 1)); }, {1, 16, 1});
  expect([=, this] { return binary_cross_entropy(0 * v, 1.0) - softplus(0 * v); }, {0, 0, 0, 0});
}

TEST_F(OpValues, ReductionsOverAnAxisOrOverAll) {
  expect([=, this] { return sum(x); }, {5});
  expect([=, this] { return sum(x, 0); }, {5, 3, -3});
  expect([=, this] { return sum(x, -1); }, {2, 3});
  expect([=, this] { return mean(x); }, {5.0 / 6});
  expect([=, this] { return mean(x, 1); }, {2.0 / 3, 1});
  expect([=, this] { return max_over(x); }, {5});
  expect([=, this] { return min_over(x); }, {-6});
  expect([=, this] { return min_over(x, 0); }, {1, -2, -6});
  expect([=, this] { return sum(sum(x)); }, {5});
}

TEST_F(OpValues, SoftmaxOfEitherAxisOfAMatrix) {
  const auto e = [](double a, double b) { return std::exp(a) / (std::exp(a) + std::exp(b)); };
  expect([=, this] { return softmax(x, 0); },
         {e(1, 4), e(-2, 5), e(3, -6), e(4, 1), e(5, -2), e(-6, 3)});
  expect([=, this] { return exp(log_softmax(x, 0)) - softmax(x, 0); }, std::vector<double>(6, 0.0));
  expect([=, this] { return sum(softmax(x), 1); }, {1, 1});
}

TEST_F(OpValues, PartsAndJoints) {
  expect([=, this] { return split<2>(v)[1]; }, {3, 4});
  expect([=, this] { return split<3>(x, 1)[2]; }, {3, -6});
  expect([=, this] { return split<3>(x, -1)[0]; }, {1, 4});
  expect([=, this] { return slice(v, 1, 2); }, {2, 3});
  expect([=, this] { return concat<1>(x, -x); }, {1, -2, 3, -1, 2, -3, 4, 5, -6, -4, -5, 6});
  expect([=, this] { return concat(v, slice(v, 0, 1), v); }, {1, 2, 3, 4, 1, 1, 2, 3, 4});
  expect([=, this] { return dot(v, v); }, {30});
}

TEST_F(OpValues, NumbersOnEitherSide) {
  expect([=, this] { return 2 * v; }, {2, 4, 6, 8});
  expect([=, this] { return 12 / v; }, {12, 6, 4, 3});
  expect([=, this] { return 1.0 - v; }, {0, -1, -2, -3});
  expect([=, this] { return max(2.5f, v); }, {2.5, 2.5, 3, 4});
  expect([=, this] { return v * constant(3, {4}) + constant(1); }, {4, 7, 10, 13});
}

TEST(Ops, OverChildrenTheLeastAndTheLogarithmsOfTheShares) {
  Scratch model;
  const Param table = model.param("table", {3, 2});
  const auto leaf = model.cell("leaf", [=](Index word) { return row(table, word); });
  const auto least =
      model.cell("least", {{2}}, [](Children<Tensor> kids) { return min_children(kids); });
  const auto shares = model.cell("shares", {{2}}, [](Children<Tensor> kids) {
    return sum_children(log_softmax_children(kids));
  });
  ir::Program program = model.program();
  ir::Recorder recorder(program);
  const Instances instances(recorder);
  const std::vector<Call<Tensor>> kids = {instances(leaf, 0), instances(leaf, 1),
                                          instances(leaf, 2)};
  instances(least, kids);
  instances(shares, kids);
  const std::vector<double> numbers = {1, -2, 3, 4, -5, 1000};
  const auto found = test::Oracle(program, {numbers}).forward(recorder.graph());
  EXPECT_EQ(found.at(3).at(0), (std::vector<double>{-5, -2}));
  // The sum over children j of x_j - log Σ exp(x): of 1, 3, -5, and of -2, 4, 1000.
  EXPECT_NEAR(found.at(4).at(0).at(0), -1 - 3 * std::log(std::exp(1) + std::exp(3) + std::exp(-5)),
              1e-12);
  EXPECT_NEAR(found.at(4).at(0).at(1), 1002 - 3 * 1000.0, 1e-9);
}

}  // namespace
}  // namespace espalier
