// The functions for computing with tensors. Each works in two places. In the body of a cell,
// operands are Tensors, Params and numbers, and the function adds an op to the body. Elsewhere, at
// least one operand is a Call<Tensor>, and it records a call of a one-op cell. docs/ops.md lists
// what each op computes. All throw UserError if the op's shape rule fails. A negative axis counts
// from the end.
#pragma once

#include <array>
#include <concepts>
#include <type_traits>

#include "frontend/cell.h"
#include "frontend/tensor.h"

namespace espalier {
namespace detail {

template <class T>
concept TraceOperand = std::derived_from<T, Tensor> || std::same_as<T, Param>;
template <class T>
concept CallOfTensor = std::same_as<T, Call<Tensor>>;
template <class T>
concept Number = std::is_arithmetic_v<T>;

/// A tensor in a body, or a call of one.
template <class T>
concept Operand = TraceOperand<T> || CallOfTensor<T>;
/// Operands of element-wise ops: tensors or calls, and numbers, but not only numbers.
template <class... T>
concept Operands = ((Operand<T> || Number<T>) && ...) && (Operand<T> || ...);
/// An index: an Index in a body, an integer elsewhere.
template <class I, class X>
concept IndexFor =
    (CallOfTensor<X> && std::integral<I>) || (!CallOfTensor<X> && std::same_as<I, Index>);

template <class... T>
using Result = std::conditional_t<(CallOfTensor<T> || ...), Call<Tensor>, Tensor>;

inline const Tensor& as_tensor(const Tensor& tensor) { return tensor; }
inline Tensor as_tensor(const Param& param) { return param; }
inline Tensor as_tensor(const Index& index) { return Inside::as_tensor(index); }
inline Tensor as_tensor(double number) { return constant(number); }

inline const Index& as_index(const Index& index) { return index; }
inline RowNumber as_index(std::int64_t value) { return row_number(value); }

template <class... T>
Result<T...> apply(std::string_view op, const ir::Attributes& attributes, const T&... operands) {
  if constexpr ((CallOfTensor<T> || ...)) {
    const CallOperand list[] = {CallOperand(operands)...};
    return Call<Tensor>(record_op(op, attributes, list));
  } else {
    const Tensor list[] = {as_tensor(operands)...};
    return trace_op(op, attributes, list);
  }
}

/// `axis` as a non-negative number. UserError if `shape` has no such axis.
int checked_axis(std::string_view op, const Shape& shape, int axis);
/// `shape` with `length` elements on `axis`. UserError unless there are `begin + length`.
Shape cut_shape(const Shape& shape, int axis, std::int64_t begin, std::int64_t length);
/// The length of one of `parts` equal parts of `axis`. UserError if it is not divisible.
std::int64_t part_length(const Shape& shape, int axis, int parts);
/// Whether `axis` is the first of a matrix. UserError if it is neither that nor the last axis.
bool is_first_of_matrix(std::string_view op, const Shape& shape, int axis);

template <Operand X>
Result<X> over_axis(std::string_view op, const X& x, int axis) {
  return apply(op, {.ints = {checked_axis(op, x.shape(), axis), 0}}, x);
}

}  // namespace detail

// clang-format off

// Element-wise ops. Shapes broadcast: axes are aligned at the end, extents are equal or 1.
template <class A, class B> requires detail::Operands<A, B>
auto operator+(const A& a, const B& b) { return detail::apply("add", {}, a, b); }
template <class A, class B> requires detail::Operands<A, B>
auto operator-(const A& a, const B& b) { return detail::apply("sub", {}, a, b); }
template <class A, class B> requires detail::Operands<A, B>
auto operator*(const A& a, const B& b) { return detail::apply("mul", {}, a, b); }
template <class A, class B> requires detail::Operands<A, B>
auto operator/(const A& a, const B& b) { return detail::apply("div", {}, a, b); }
template <class A, class B> requires detail::Operands<A, B>
auto max(const A& a, const B& b) { return detail::apply("max", {}, a, b); }
template <class A, class B> requires detail::Operands<A, B>
auto min(const A& a, const B& b) { return detail::apply("min", {}, a, b); }
template <class A, class B> requires detail::Operands<A, B>
auto less(const A& a, const B& b) { return detail::apply("less", {}, a, b); }
template <class A, class B> requires detail::Operands<A, B>
auto equal(const A& a, const B& b) { return detail::apply("equal", {}, a, b); }
inline Tensor equal(const Index& a, const Index& b) { return detail::apply("equal", {}, a, b); }
template <class C, class A, class B> requires detail::Operands<C, A, B>
auto where(const C& condition, const A& a, const B& b) { return detail::apply("where", {}, condition, a, b); }
template <detail::Operand X> auto operator-(const X& x) { return detail::apply("neg", {}, x); }
template <detail::Operand X> auto abs(const X& x) { return detail::apply("abs", {}, x); }
template <detail::Operand X> auto exp(const X& x) { return detail::apply("exp", {}, x); }
template <detail::Operand X> auto log(const X& x) { return detail::apply("log", {}, x); }
template <detail::Operand X> auto sqrt(const X& x) { return detail::apply("sqrt", {}, x); }
template <detail::Operand X> auto tanh(const X& x) { return detail::apply("tanh", {}, x); }
template <detail::Operand X> auto sigmoid(const X& x) { return detail::apply("sigmoid", {}, x); }
template <detail::Operand X> auto relu(const X& x) { return detail::apply("relu", {}, x); }
template <detail::Operand X> auto softplus(const X& x) { return detail::apply("softplus", {}, x); }
template <detail::Operand X> auto gelu(const X& x) { return detail::apply("gelu", {}, x); }
template <detail::Operand X> auto stop_gradient(const X& x) { return detail::apply("stop_gradient", {}, x); }
/// `p` is the probability of dropping an element.
template <detail::Operand X> auto dropout(const X& x, double p) { return detail::apply("dropout", {.number = p}, x); }

// Contractions and the outer product.
template <detail::Operand A, detail::Operand B>
auto matmul(const A& a, const B& b) { return detail::apply("matmul", {}, a, b); }
/// Σ a[i] · b[i] of two vectors.
template <detail::Operand A, detail::Operand B>
auto dot(const A& a, const B& b) { return detail::apply("matmul", {}, a, b); }
template <detail::Operand A, detail::Operand B>
auto outer(const A& a, const B& b) { return detail::apply("outer", {}, a, b); }
template <detail::Operand F, detail::Operand A, detail::Operand B>
auto bilinear(const F& form, const A& a, const B& b) { return detail::apply("bilinear", {}, form, a, b); }

// Selecting and rearranging elements.
template <detail::Operand X, detail::IndexFor<X> I>
auto row(const X& x, const I& index) { return detail::apply("row", {}, x, detail::as_index(index)); }
inline Tensor one_hot(const Index& index, int n) { return detail::apply("one_hot", {.shape = {n}}, index); }
template <int axis = 0, class... X> requires (detail::Operand<X> && ...)
auto concat(const X&... x) { return detail::apply("concat", {.ints = {axis, 0}}, x...); }
template <detail::Operand X> auto reshape(const X& x, const Shape& shape) { return detail::apply("reshape", {.shape = shape}, x); }
template <detail::Operand X> auto broadcast(const X& x, const Shape& shape) { return detail::apply("broadcast", {.shape = shape}, x); }
template <detail::Operand X> auto transpose(const X& x) { return detail::apply("transpose", {}, x); }

/// Elements begin … begin + length − 1 of an axis.
template <detail::Operand X>
auto slice(const X& x, int begin, int length, int axis = 0) {
  axis = detail::checked_axis("slice", x.shape(), axis);
  return detail::apply("slice", {.ints = {axis, begin}, .shape = detail::cut_shape(x.shape(), axis, begin, length)}, x);
}

/// N equal parts of an axis: `auto [i, o, g] = split<3>(x)`.
template <int N, detail::Operand X>
auto split(const X& x, int axis = 0) {
  axis = detail::checked_axis("split", x.shape(), axis);
  const auto length = static_cast<int>(detail::part_length(x.shape(), axis, N));
  return [&]<int... i>(std::integer_sequence<int, i...>) {
    return std::array{slice(x, i * length, length, axis)...};
  }(std::make_integer_sequence<int, N>());
}

// Reductions, over one axis or over all elements.
template <detail::Operand X> auto sum(const X& x, int axis) { return detail::over_axis("sum", x, axis); }
template <detail::Operand X> auto mean(const X& x, int axis) { return detail::over_axis("mean", x, axis); }
template <detail::Operand X> auto max_over(const X& x, int axis) { return detail::over_axis("max_over", x, axis); }
template <detail::Operand X> auto min_over(const X& x, int axis) { return -max_over(-x, axis); }
template <detail::Operand X> auto sum(const X& x) { return sum(reshape(x, {x.shape().size()}), 0); }
template <detail::Operand X> auto mean(const X& x) { return mean(reshape(x, {x.shape().size()}), 0); }
template <detail::Operand X> auto max_over(const X& x) { return max_over(reshape(x, {x.shape().size()}), 0); }
template <detail::Operand X> auto min_over(const X& x) { return -max_over(-x); }

/// Softmax over the last axis, or over the first axis of a matrix.
template <detail::Operand X>
detail::Result<X> softmax(const X& x, int axis = -1) {
  if (detail::is_first_of_matrix("softmax", x.shape(), axis)) return transpose(softmax(transpose(x), -1));
  return detail::apply("softmax", {}, x);
}
template <detail::Operand X>
detail::Result<X> log_softmax(const X& x, int axis = -1) {
  if (detail::is_first_of_matrix("log_softmax", x.shape(), axis)) return transpose(log_softmax(transpose(x), -1));
  return detail::apply("log_softmax", {}, x);
}
template <detail::Operand X, detail::Operand G, detail::Operand B>
auto layer_norm(const X& x, const G& gain, const B& bias) { return detail::apply("layer_norm", {}, x, gain, bias); }

// Reductions over the children: only in bodies, for values of a Children port.
inline Tensor sum_children(const Tensor& x) { return detail::apply("sum_children", {}, x); }
inline Tensor mean_children(const Tensor& x) { return detail::apply("mean_children", {}, x); }
inline Tensor max_children(const Tensor& x) { return detail::apply("max_children", {}, x); }
inline Tensor min_children(const Tensor& x) { return -max_children(-x); }
inline Tensor softmax_children(const Tensor& x) { return detail::apply("softmax_children", {}, x); }
inline Tensor log_softmax_children(const Tensor& x) {
  const Tensor shifted = x - stop_gradient(max_children(x));
  return shifted - log(sum_children(exp(shifted)));
}

// Losses.
template <detail::Operand X, detail::IndexFor<X> I>
auto cross_entropy(const X& logits, const I& label) { return detail::apply("cross_entropy", {}, logits, detail::as_index(label)); }
template <class X, class T> requires detail::Operands<X, T>
auto binary_cross_entropy(const X& logit, const T& target) { return detail::apply("binary_cross_entropy", {}, logit, target); }
template <class A, class B> requires detail::Operands<A, B>
auto squared_error(const A& a, const B& b) { return detail::apply("squared_error", {}, a, b); }

// clang-format on

}  // namespace espalier
