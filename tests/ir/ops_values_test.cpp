// What ops compute, by numbers worked out by hand; and evaluation itself.
#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>

#include "base/error.h"
#include "ir/evaluate.h"
#include "ir/op.h"
#include "tests/support/refusal.h"

namespace espalier::ir {
namespace {

using Numbers = std::vector<double>;

/// Builds one expression over inputs given by their values, and evaluates it.
class Evaluation {
 public:
  Value operator()(Shape shape, Numbers values) { return input({DType::f32, shape, -1}, values); }
  Value index(int value) { return input({DType::i32, {}, -1}, {double(value)}); }
  /// Values of `count` children of the one Children port.
  Value children(int count, Shape shape, Numbers values) {
    count_ = count;
    return input({DType::f32, shape, 0}, values);
  }

  Numbers of(std::string_view name, std::initializer_list<Value> operands,
             Attributes attributes = {}) {
    return of(builder_.apply(op(name), std::span(operands.begin(), operands.size()), attributes));
  }
  Numbers of(Value value) {
    std::vector<NodeId> output = {value.id};
    const Graph graph = builder_.finish(output);
    const auto values = evaluate(graph, std::vector<int>{count_}, [&](const Node& node) {
      if (node.op->id == OpId::dropout_mask) return Numbers{0, 2, 0, 2};
      return inputs_[node.attributes.ints[0]];
    });
    return values[output[0]].data;
  }

  GraphBuilder builder_{GraphBuilder::Mode::record};

 private:
  Value input(Type type, Numbers values) {
    inputs_.push_back(values);
    return builder_.leaf(type.dtype == DType::i32 ? OpId::port : OpId::cotangent, type,
                         {.ints = {int(inputs_.size()) - 1, 0}});
  }

  std::vector<Numbers> inputs_;
  int count_ = 0;
};

void expect_near(const Numbers& values, const Numbers& expected) {
  ASSERT_EQ(values.size(), expected.size());
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i], expected[i], 1e-12) << i;
}

TEST(OpValues, Elementwise) {
  Evaluation x;
  const Value a = x({4}, {-2, -0.5, 0, 3}), b = x({4}, {1, -0.5, 2, -3});
  expect_near(x.of(a + b), {-1, -1, 2, 0});
  expect_near(x.of(a - b), {-3, 0, -2, 6});
  expect_near(x.of(a * b), {-2, 0.25, 0, -9});
  expect_near(x.of(a / b), {-2, 1, 0, -1});
  expect_near(x.of("max", {a, b}), {1, -0.5, 2, 3});
  expect_near(x.of("min", {a, b}), {-2, -0.5, 0, -3});
  expect_near(x.of("less", {a, b}), {1, 0, 1, 0});
  expect_near(x.of("equal", {a, b}), {0, 1, 0, 0});
  expect_near(x.of("where", {a, a, b}), {-2, -0.5, 2, 3});
  expect_near(x.of("relu", {a}), {0, 0, 0, 3});
  expect_near(x.of("sigmoid", {a}),
              {1 / (1 + std::exp(2)), 1 / (1 + std::exp(0.5)), 0.5, 1 / (1 + std::exp(-3))});
  expect_near(x.of("softplus", {a}), {std::log1p(std::exp(-2)), std::log1p(std::exp(-0.5)),
                                      std::log(2), 3 + std::log1p(std::exp(-3))});
  const auto gelu = [](double v) {
    return 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
  };
  expect_near(x.of("gelu", {a}), {gelu(-2), gelu(-0.5), 0, gelu(3)});
  expect_near(x.of("stop_gradient", {a}), {-2, -0.5, 0, 3});
}

TEST(OpValues, LargeAndSmallArguments) {
  Evaluation x;
  const Value a = x({4}, {-800, -30, 30, 800});
  expect_near(x.of("sigmoid", {a}), {0, 1 / (1 + std::exp(30)), 1 / (1 + std::exp(-30)), 1});
  expect_near(x.of("softplus", {a}), {0, std::exp(-30), 30 + std::exp(-30), 800});
  EXPECT_DOUBLE_EQ(x.of("softplus", {x({}, {-60})})[0], std::exp(-60));
  expect_near(x.of("softmax", {a}), {0, 0, 0, 1});
  expect_near(x.of("log_softmax", {a}), {-1600, -830, -770, 0});
}

TEST(OpValues, Reductions) {
  Evaluation x;
  const Value m = x({2, 3}, {1, 2, 3, -4, -5, -6});
  expect_near(x.of("sum", {m}, {.ints = {0, 0}}), {-3, -3, -3});
  expect_near(x.of("sum", {m}, {.ints = {1, 0}}), {6, -15});
  expect_near(x.of("max_over", {m}, {.ints = {1, 0}}), {3, -4});
  expect_near(x.of("mean", {m}, {.ints = {1, 0}}), {2, -5});
  const Value cube = x({2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8});
  expect_near(x.of("sum", {cube}, {.ints = {1, 0}}), {4, 6, 12, 14});
}

TEST(OpValues, Children) {
  Evaluation x;
  const Value h = x.children(3, {2}, {1, 9, 5, 8, 3, 7});
  expect_near(x.of("sum_children", {h}), {9, 24});
  expect_near(x.of("max_children", {h}), {5, 9});
  expect_near(x.of("mean_children", {h}), {3, 8});
  const double z = std::exp(1) + std::exp(5) + std::exp(3);
  const auto attention = x.of("softmax_children", {h});
  EXPECT_NEAR(attention[0], std::exp(1) / z, 1e-12);
  EXPECT_NEAR(attention[2], std::exp(5) / z, 1e-12);
  expect_near(x.of("add", {h, x({}, {10})}), {11, 19, 15, 18, 13, 17});
}

TEST(OpValues, NoChildren) {
  Evaluation x;
  const Value h = x.children(0, {2}, {});
  expect_near(x.of("sum_children", {h}), {0, 0});
  expect_near(x.of("mean_children", {h}), {0, 0});
  EXPECT_EQ(x.of("max_children", {h}), (Numbers{-FLT_MAX, -FLT_MAX}));
  EXPECT_EQ(x.of("softmax_children", {h}), Numbers{});
}

TEST(OpValues, Movements) {
  Evaluation x;
  const Value m = x({2, 3}, {1, 2, 3, 4, 5, 6}), v = x({3}, {7, 8, 9});
  expect_near(x.of("slice", {m}, {.ints = {1, 1}, .shape = {2, 2}}), {2, 3, 5, 6});
  expect_near(x.of("slice", {m}, {.ints = {0, 1}, .shape = {1, 3}}), {4, 5, 6});
  expect_near(x.of("concat", {m, m}, {.ints = {1, 0}}), {1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6});
  expect_near(x.of("concat", {v, x({1}, {0}), v}, {.ints = {0, 0}}), {7, 8, 9, 0, 7, 8, 9});
  expect_near(x.of("reshape", {m}, {.shape = {3, 2}}), {1, 2, 3, 4, 5, 6});
  expect_near(x.of("transpose", {m}), {1, 4, 2, 5, 3, 6});
  expect_near(x.of("transpose", {x.builder_.apply(OpId::reshape, {m}, {.shape = {3, 2}})}),
              {1, 3, 5, 2, 4, 6});
  expect_near(x.of("broadcast", {v}, {.shape = {2, 3}}), {7, 8, 9, 7, 8, 9});
  expect_near(x.of("broadcast", {x({2, 1}, {7, 8})}, {.shape = {2, 3}}), {7, 7, 7, 8, 8, 8});
  expect_near(x.of("row", {m, x.index(1)}), {4, 5, 6});
  expect_near(x.of("row", {v, x.index(2)}), {9});
}

TEST(OpValues, Contractions) {
  Evaluation x;
  const Value m = x({2, 3}, {1, 2, 3, 4, 5, 6}), v = x({3}, {1, 0, -1});
  expect_near(x.of("matmul", {m, v}), {-2, -2});
  expect_near(x.of("matmul", {v, v}), {2});
  expect_near(x.of("matmul", {m, x({3, 2}, {1, 2, 3, 4, 5, 6})}), {22, 28, 49, 64});
  expect_near(x.of("outer", {x({2}, {2, 3}), v}), {2, 0, -2, 3, 0, -3});
  expect_near(x.of("bilinear", {x({1, 2, 3}, {1, 2, 3, 4, 5, 6}), x({2}, {1, 2}), v}), {-6});
}

TEST(OpValues, LossesAndNorms) {
  Evaluation x;
  const Value v = x({3}, {1, 2, 3});
  const double z = std::log(std::exp(1) + std::exp(2) + std::exp(3));
  expect_near(x.of("cross_entropy", {v, x.index(1)}), {z - 2});
  expect_near(x.of("log_softmax", {v}), {1 - z, 2 - z, 3 - z});
  expect_near(x.of("one_hot", {x.index(2)}, {.shape = {4}}), {0, 0, 1, 0});
  expect_near(
      x.of("binary_cross_entropy", {v, x({3}, {0, 1, 0.5})}),
      {std::log1p(std::exp(1)), std::log1p(std::exp(2)) - 2, std::log1p(std::exp(3)) - 1.5});
  expect_near(x.of("squared_error", {v, x({3}, {1, 0, 5})}), {0, 4, 4});
  const double s = std::sqrt(2.0 / 3 + 1e-5);
  expect_near(x.of("layer_norm", {v, x({3}, {1, 1, 2}), x({3}, {0, 5, 0})}), {-1 / s, 5, 2 / s});
  expect_near(x.of("dropout", {x({4}, {1, 2, 3, 4})}, {.number = 0.5}), {0, 4, 0, 8});
}

TEST(OpValues, ANanIsNotSwallowed) {
  Evaluation x;
  for (const char* op : {"tanh", "sigmoid", "softplus", "gelu", "exp"})
    EXPECT_TRUE(std::isnan(x.of(op, {x({}, {NAN})})[0])) << op;
  EXPECT_TRUE(std::isnan(x.of("max", {x({}, {NAN}), x({}, {1})})[0]));  // a < b ? b : a
}

TEST(Evaluate, RefusesIndicesBeyondTheRows) {
  Evaluation x;
  const Value m = x({2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(test::refusal<InternalError>([&] { x.of("row", {m, x.index(2)}); }),
            "internal error: row reads element 2 of axis 0 of [2, 3]");
  EXPECT_NE(test::refusal<InternalError>([&] { x.of("row", {m, x.index(-1)}); }),
            "(nothing thrown)");
}

TEST(Evaluate, RefusesLeavesOfAnotherSize) {
  Evaluation x;
  EXPECT_EQ(test::refusal<InternalError>([&] { x.of("exp", {x({3}, {1, 2})}); }),
            "internal error: leaf 'cotangent' of type f32[3] has 2 elements, expected 3");
}

}  // namespace
}  // namespace espalier::ir
