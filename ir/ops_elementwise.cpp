// Element-wise ops: one record each. The body is the op's meaning at every number type; the
// gradient body takes the cotangent g, the result y and the operands.
#include <array>

#include "ir/op.h"

namespace espalier::ir {

using namespace scalar_functions;

namespace {

template <int arity, class Body>
double evaluate(const double* x) {
  return [&]<std::size_t... i>(std::index_sequence<i...>) {
    return Body{}(x[i]...);
  }(std::make_index_sequence<arity>());
}

template <int arity, class Body>
Scalar print(const Scalar* x) {
  return [&]<std::size_t... i>(std::index_sequence<i...>) {
    return Body{}(x[i]...);
  }(std::make_index_sequence<arity>());
}

template <int arity, class Gradient>
std::vector<Value> differentiate(const GradientContext& context) {
  return [&]<std::size_t... i>(std::index_sequence<i...>) {
    const auto values = Gradient{}(context.cotangent, context.result, context.operands[i]...);
    return std::vector<Value>(values.begin(), values.end());
  }(std::make_index_sequence<arity>());
}

Type elementwise_type(const ShapeContext& context) {
  if (context.op.id == OpId::equal)
    context.check(context.operands[0].dtype == context.operands[1].dtype,
                  "found an index and a number, expected two of a kind: " + context.describe(0) +
                      ", " + context.describe(1));
  else
    for (std::size_t i = 0; i < context.operands.size(); ++i) context.check_number(int(i));
  return {DType::f32, context.shape(0), context.operands[0].children};
}

/// No gradient flows: the op is a step function.
struct NoGradient {};

template <int arity, class Body, class Gradient>
Op record(OpName name, std::string_view summary, std::vector<std::string_view> operands, Body,
          Gradient, std::vector<Interval> domain, double ulp) {
  Op op;
  op.name = name.text;
  op.id = name.id;
  op.kind = OpClass::elementwise;
  op.summary = summary;
  op.operands = std::move(operands);
  op.domain = std::move(domain);
  op.ulp = ulp;
  op.type = elementwise_type;
  op.evaluate = evaluate<arity, Body>;
  op.scalar = print<arity, Body>;
  if constexpr (!std::is_same_v<Gradient, NoGradient>) op.gradient = differentiate<arity, Gradient>;
  const Type vector{DType::f32, {5}, per_instance}, matrix{DType::f32, {3, 4}, per_instance};
  op.examples = {{std::vector<Type>(arity, vector), {}}, {std::vector<Type>(arity, matrix), {}}};
  return op;
}

template <class Body, class Gradient>
Op unary(OpName name, std::string_view summary, Body body, Gradient gradient, Interval domain,
         double ulp) {
  return record<1>(name, summary, {"x"}, body, gradient, {domain}, ulp);
}

template <class Body, class Gradient>
Op binary(OpName name, std::string_view summary, Body body, Gradient gradient, Interval a,
          Interval b, double ulp) {
  return record<2>(name, summary, {"a", "b"}, body, gradient, {a, b}, ulp);
}

using V = Value;

}  // namespace

std::vector<Op> elementwise_ops() {
  const Interval any{-10, 10}, wide{-30, 30};
  return {
      binary(
          {"add", OpId::add}, "a + b", [](auto a, auto b) { return a + b; },
          [](V g, V, V, V) { return std::array{g, g}; }, any, any, 0.5),
      binary(
          {"sub", OpId::sub}, "a − b", [](auto a, auto b) { return a - b; },
          [](V g, V, V, V) { return std::array{g, -g}; }, any, any, 0.5),
      binary(
          {"mul", OpId::mul}, "a · b", [](auto a, auto b) { return a * b; },
          [](V g, V, V a, V b) { return std::array{g * b, g * a}; }, any, any, 0.5),
      binary(
          {"div", OpId::div}, "a / b", [](auto a, auto b) { return a / b; },
          [](V g, V y, V, V b) { return std::array{g / b, -(g * y / b)}; }, any, {0.1, 10}, 0.5),
      binary(
          {"max", OpId::max}, "the larger of a and b; if equal, the gradient goes to a",
          [](auto a, auto b) { return max(a, b); },
          [](V g, V, V a, V b) {
            const V second = less(a, b);
            return std::array{g * (1.0 - second), g * second};
          },
          any, any, 0),
      binary(
          "min", "the smaller of a and b; if equal, the gradient goes to a",
          [](auto a, auto b) { return min(a, b); },
          [](V g, V, V a, V b) {
            const V second = less(b, a);
            return std::array{g * (1.0 - second), g * second};
          },
          any, any, 0),
      unary(
          {"neg", OpId::neg}, "−x", [](auto x) { return -x; },
          [](V g, V, V) { return std::array{-g}; }, any, 0),
      unary(
          {"abs", OpId::abs}, "|x|; gradient 0 at 0", [](auto x) { return abs(x); },
          [](V g, V, V x) {
            return std::array{g * (less(0.0, x) - less(x, x.builder->constant(0)))};
          },
          any, 0),
      unary(
          {"exp", OpId::exp}, "eˣ", [](auto x) { return exp(x); },
          [](V g, V y, V) { return std::array{g * y}; }, wide, 4),
      unary(
          {"log", OpId::log}, "natural logarithm", [](auto x) { return log(x); },
          [](V g, V, V x) { return std::array{g / x}; }, {1e-3, 1e3}, 4),
      unary(
          {"sqrt", OpId::sqrt}, "square root", [](auto x) { return sqrt(x); },
          [](V g, V y, V) { return std::array{g * 0.5 / y}; }, {1e-3, 1e3}, 0.5),
      unary(
          {"tanh", OpId::tanh}, "hyperbolic tangent", [](auto x) { return tanh(x); },
          [](V g, V y, V) { return std::array{g * (1.0 - y * y)}; }, any, 4),
      unary(
          {"sigmoid", OpId::sigmoid}, "1 / (1 + e⁻ˣ)", [](auto x) { return 1.0 / (1.0 + exp(-x)); },
          [](V g, V y, V) { return std::array{g * y * (1.0 - y)}; }, wide, 6),
      unary(
          "relu", "max(x, 0); gradient 0 at 0", [](auto x) { return max(x, 0.0); },
          [](V g, V, V x) { return std::array{g * less(0.0, x)}; }, any, 0),
      // log1p(u) = log(1 + u) · u / ((1 + u) − 1), exact to rounding (Kahan)
      unary(
          {"softplus", OpId::softplus}, "log(1 + eˣ)",
          [](auto x) {
            const auto u = exp(-abs(x));
            const auto v = 1.0 + u;
            const auto log1p =
                where(equal(v, 1.0), u, log(v) * u / where(equal(v, 1.0), v, v - 1.0));
            return max(x, 0.0) + log1p;
          },
          [](V g, V, V x) { return std::array{g * x.builder->apply(OpId::sigmoid, {x})}; }, wide,
          10),
      // Hendrycks and Gimpel 2016, the tanh form: 0.5 (1 + tanh u) = 1 / (1 + e^(−2u))
      unary(
          "gelu", "x / (1 + e^(−2u)), u = √(2/π) (x + 0.044715 x³)",
          [](auto x) { return x / (1.0 + exp(x * (x * x * -0.0713548162726 - 1.59576912160573))); },
          [](V g, V, V x) {
            const V s =
                x.builder->apply(OpId::sigmoid, {x * (x * x * 0.0713548162726 + 1.59576912160573)});
            return std::array{
                g * (s + x * s * (1.0 - s) * (x * x * 0.2140644488178 + 1.59576912160573))};
          },
          {-4, 10}, 32),
      record<1>(
          {"stop_gradient", OpId::stop_gradient}, "x; no gradient flows", {"x"},
          [](auto x) { return x; }, NoGradient{}, {any}, 0),
      record<2>(
          {"less", OpId::less}, "1 where a < b, else 0; no gradient", {"a", "b"},
          [](auto a, auto b) { return less(a, b); }, NoGradient{}, {any, any}, 0),
      record<2>(
          {"equal", OpId::equal}, "1 where a = b, else 0; no gradient; also compares indices",
          {"a", "b"}, [](auto a, auto b) { return equal(a, b); }, NoGradient{}, {any, any}, 0),
      record<3>(
          {"where", OpId::where}, "a where the condition is not 0, else b", {"condition", "a", "b"},
          [](auto c, auto a, auto b) { return where(c, a, b); },
          [](V g, V, V c, V, V) {
            const V zero = g.builder->constant(0);
            return std::array{V{}, where(c, g, zero), where(c, zero, g)};
          },
          {any, any, any}, 0),
  };
}

}  // namespace espalier::ir
