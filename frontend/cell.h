// Cell<R(Args...)>: the typed handle of a traced cell. Made by Model::cell, called through an
// engine's Instances; a call with the wrong number or kinds of arguments does not compile.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <ranges>
#include <span>
#include <type_traits>

#include "frontend/call.h"
#include "ir/record/instances.h"

namespace espalier {
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
