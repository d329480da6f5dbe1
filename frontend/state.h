// Treats plain structs of Tensors as lists of Tensors. It counts the fields of an aggregate and
// binds them, so that `struct State { Tensor h, c; }` needs no registration. Used by the tracer and
// Call.
#pragma once

#include <array>
#include <string_view>
#include <type_traits>
#include <utility>

#include "frontend/tensor.h"

namespace espalier::detail {

inline constexpr std::size_t max_fields = 8;

/// Placeholders for counting fields: for fields of any type, or for Tensors only.
struct AnyField {
  template <class T>
  operator T() const;  // NOLINT
};
struct AnyTensor {
  template <class T>
    requires std::is_same_v<T, Tensor>
  operator T() const;  // NOLINT
};

template <class S, class Field, std::size_t... i>
constexpr bool takes(std::index_sequence<i...>) {
  return requires { S{(static_cast<void>(i), Field{})...}; };
}

/// The largest n ≤ `most` for which S can be initialized with n `Field`s.
template <class S, class Field = AnyTensor, std::size_t most = max_fields + 1>
constexpr std::size_t count_fields() {
  if constexpr (most == 0 || takes<S, Field>(std::make_index_sequence<most>())) {
    return most;
  } else {
    return count_fields<S, Field, most - 1>();
  }
}

/// A plain struct of one to eight Tensors and nothing else.
template <class S>
concept StateStruct =
    std::is_aggregate_v<S> && !std::is_array_v<S> && count_fields<S>() > 0 &&
    count_fields<S>() <= max_fields&& count_fields<S, AnyTensor>() == count_fields<S, AnyField>();

/// References to the fields of `state` in order.
template <StateStruct S>
auto fields_of(const S& state) {
  constexpr std::size_t n = count_fields<S>();
  const auto list = [](const auto&... fields) { return std::array{&fields...}; };
  if constexpr (n == 1) {
    const auto& [a] = state;
    return list(a);
  } else if constexpr (n == 2) {
    const auto& [a, b] = state;
    return list(a, b);
  } else if constexpr (n == 3) {
    const auto& [a, b, c] = state;
    return list(a, b, c);
  } else if constexpr (n == 4) {
    const auto& [a, b, c, d] = state;
    return list(a, b, c, d);
  } else if constexpr (n == 5) {
    const auto& [a, b, c, d, e] = state;
    return list(a, b, c, d, e);
  } else if constexpr (n == 6) {
    const auto& [a, b, c, d, e, f] = state;
    return list(a, b, c, d, e, f);
  } else if constexpr (n == 7) {
    const auto& [a, b, c, d, e, f, g] = state;
    return list(a, b, c, d, e, f, g);
  } else {
    const auto& [a, b, c, d, e, f, g, h] = state;
    return list(a, b, c, d, e, f, g, h);
  }
}

/// The index of the field of S that `member` points to.
template <StateStruct S>
int field_index(Tensor S::* member) {
  const S state{};
  const auto fields = fields_of(state);
  int index = 0;
  while (fields[static_cast<std::size_t>(index)] != &(state.*member)) ++index;
  return index;
}

/// An S with the given tensors as fields, one for each.
template <StateStruct S, class List>
S make_state(const List& tensors) {
  return [&]<std::size_t... i>(std::index_sequence<i...>) {
    return S{tensors[i]...};
  }(std::make_index_sequence<count_fields<S>()>());
}

/// The name of a type without its namespaces, for messages.
template <class S>
std::string_view type_name() {
  std::string_view text = __PRETTY_FUNCTION__;  // "… [with S = a::State; …" or "… [S = a::State]"
  const std::size_t begin = text.find("S = ") + 4;
  text = text.substr(begin, text.find_first_of(";]", begin) - begin);
  const std::size_t scope = text.substr(0, text.find('<')).rfind(':');
  return scope == text.npos ? text : text.substr(scope + 1);
}

}  // namespace espalier::detail
