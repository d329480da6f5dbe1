// The user's handle of a recorded call, typed by the result: Call<State> for a struct of tensors,
// Call<Tensor> for one. Made by Cell::call; used by further calls, by arithmetic (frontend/ops.h)
// and by Engine::value. It holds no numbers.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <string_view>

#include "frontend/state.h"
#include "frontend/tensor.h"
#include "ir/record/instances.h"

namespace espalier {

/// Small and freely copied. Valid until the next minibatch begins; a later use is a UserError.
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

}  // namespace espalier
