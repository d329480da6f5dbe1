// Cell<R(Args...)>: the typed handle of a traced cell, made by Model::cell. A call of it through an
// engine's Instances gives a Call<R>, which later calls, arithmetic (frontend/ops.h) and
// Engine::value take. Neither holds numbers. Wrong arguments do not compile.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <ranges>
#include <span>
#include <string_view>
#include <type_traits>

#include "frontend/state.h"
#include "frontend/tensor.h"
#include "ir/record/instances.h"

namespace espalier {

/// The handle of a recorded call, typed by its result: Call<State> for a struct of tensors,
/// Call<Tensor> for one. Small and freely copied. Valid until the next minibatch begins; a later
/// use is a UserError.
template <class S>
class Call : public ir::CallHandle {
 public:
  Call() = default;
  explicit Call(const ir::CallHandle& handle) : CallHandle(handle) {}

  const Shape& shape() const
    requires std::same_as<S, Tensor>;
};

namespace detail {

/// The shape of a call that returns one tensor. UserError for a call of an earlier minibatch.
const Shape& shape_of(const ir::CallHandle& call);
ir::CallHandle field_of(const ir::CallHandle& call, int field);

/// An index as a number.
struct RowNumber {
  std::int32_t value = 0;
};
/// UserError unless `value` fits in 32 bits.
RowNumber row_number(std::int64_t value);

/// An operand of arithmetic outside cells: its kind, with the call, index or number itself.
struct CallOperand {
  ir::OpOperand operand;
  ir::CallHandle call;
  std::int32_t index = 0;
  double number = 0;

  CallOperand(const Call<Tensor>& call);  // NOLINT: operands convert implicitly
  CallOperand(const Param& param);        // NOLINT
  CallOperand(double number);             // NOLINT
  CallOperand(RowNumber row);             // NOLINT
  /// UserError unless the tensor is a constant that belongs to no cell.
  CallOperand(const Tensor& tensor);  // NOLINT
  /// Always a UserError: outside cells an index is a number.
  CallOperand(const Index& index);  // NOLINT
};

/// Records an op as a call of a one-op cell. At least one operand is a call. Numbers are recorded
/// as calls too, so the cell does not depend on their values. UserError if the op's shape rule
/// fails.
ir::CallHandle record_op(std::string_view op, const ir::Attributes& attributes,
                         std::span<const CallOperand> operands);

}  // namespace detail

template <class S>
const Shape& Call<S>::shape() const
  requires std::same_as<S, Tensor>
{
  return detail::shape_of(*this);
}

/// One tensor of a call's state, e.g. `field(call, &State::h)`, as a call of its own.
template <class S>
Call<Tensor> field(const Call<S>& call, Tensor S::* member) {
  return Call<Tensor>(detail::field_of(call, detail::field_index(member)));
}

namespace detail {

template <class T>
inline constexpr bool is_children = false;
template <class S>
inline constexpr bool is_children<Children<S>> = true;

/// Whether a call may pass a `Given` for a parameter of the body: an integer for an Index, a
/// Call<S> for a state S (or Tensor), a range of Call<S> for Children<S>.
template <class Parameter, class Given>
struct Accepts : std::bool_constant<std::same_as<Given, Call<Parameter>>> {};
template <class Given>
struct Accepts<Index, Given>
    : std::bool_constant<std::integral<Given> && !std::same_as<Given, bool>> {};
template <class S, class Given>
struct Accepts<Children<S>, Given> : std::false_type {};
template <class S, std::ranges::input_range Given>
struct Accepts<Children<S>, Given>
    : std::bool_constant<std::same_as<std::ranges::range_value_t<Given>, Call<S>>> {};

/// Adds one argument of a call to `add`, a FixedArguments or ListedArguments.
template <class Parameter, class Given, class Add>
void add_argument(const Instances& instances, const Given& given, Add& add) {
  if constexpr (std::same_as<Parameter, Index>) {
    add.index(row_number(static_cast<std::int64_t>(given)).value);
  } else if constexpr (is_children<Parameter>) {
    std::int32_t count = 0;
    for (const auto& child : given) {
      add.operand(instances.resolve(child));
      ++count;
    }
    add.index(count);
  } else {
    add.operand(instances.resolve(given));
  }
}

/// Collects the arguments of a call on the stack, if their numbers are known at compile time.
template <std::size_t operands, std::size_t indices>
struct FixedArguments {
  std::array<ir::CallId, operands> operand_list;
  std::array<std::int32_t, indices> index_list;
  std::size_t operand_count = 0, index_count = 0;

  void operand(ir::CallId call) { operand_list[operand_count++] = call; }
  void index(std::int32_t value) { index_list[index_count++] = value; }
};

/// Collects the arguments of a call at the end of the recorder's lists, and restores them when it
/// is destroyed. It nests: reading a range of children may record other calls.
struct ListedArguments {
  explicit ListedArguments(ir::CallLists& lists)
      : lists(lists), operand_begin(lists.operands.size()), index_begin(lists.indices.size()) {}
  ~ListedArguments() {
    lists.operands.resize(operand_begin);
    lists.indices.resize(index_begin);
  }
  ListedArguments(const ListedArguments&) = delete;
  ListedArguments& operator=(const ListedArguments&) = delete;

  void operand(ir::CallId call) { lists.operands.push_back(call); }
  void index(std::int32_t value) { lists.indices.push_back(value); }
  std::span<const ir::CallId> operands() const {
    return std::span(lists.operands).subspan(operand_begin);
  }
  std::span<const std::int32_t> indices() const {
    return std::span(lists.indices).subspan(index_begin);
  }

  ir::CallLists& lists;
  std::size_t operand_begin, index_begin;
};

}  // namespace detail

template <class Signature>
class Cell;

/// R and Args are the types of the traced body. Args are Index, Tensor, a plain struct of Tensors,
/// or Children of either; R is Tensor or such a struct.
template <class R, class... Args>
class Cell<R(Args...)> {
 public:
  Cell() = default;
  /// `mark` is described in ir/record/cell_mark.h. Without it, the cell is not distinguished from
  /// the cell with the same id in another model.
  explicit Cell(ir::CellId id, std::uint32_t mark = 0) : id_(id), mark_(mark) {}
  ir::CellId id() const { return id_; }

  /// Records a call. UserError for an index out of range, a call of another minibatch, a cell of
  /// another model than the engine's, or a handle that was never assigned.
  template <class... Given>
    requires(sizeof...(Given) == sizeof...(Args)) && (detail::Accepts<Args, Given>::value && ...)
  Call<R> call(const Instances& instances, const Given&... given) const {
    if constexpr ((detail::is_children<Args> || ...)) {
      detail::ListedArguments list(instances.lists());
      (detail::add_argument<Args>(instances, given, list), ...);
      return Call<R>(instances.record(id_, mark_, list.operands(), list.indices()));
    } else {
      constexpr std::size_t indices = (std::size_t{0} + ... + std::same_as<Args, Index>);
      detail::FixedArguments<sizeof...(Args) - indices, indices> list;
      (detail::add_argument<Args>(instances, given, list), ...);
      return Call<R>(instances.record(id_, mark_, list.operand_list, list.index_list));
    }
  }

 private:
  ir::CellId id_ = -1;
  std::uint32_t mark_ = 0;
};

}  // namespace espalier
