#include "frontend/ops.h"

#include "base/error.h"

namespace espalier::detail {

int checked_axis(std::string_view op, const Shape& shape, int axis) {
  const int counted = axis < 0 ? axis + shape.rank() : axis;
  if (counted < 0 || counted >= shape.rank())
    throw UserError(
        fmt::format("{}: axis {} does not exist: operand 'x' is {}", op, axis, to_string(shape)));
  return counted;
}

Shape cut_shape(const Shape& shape, int axis, std::int64_t begin, std::int64_t length) {
  if (begin < 0 || length < 1 || begin + length > shape[axis])
    throw UserError(
        fmt::format("slice: elements {} to {} of axis {} do not exist: operand 'x' is {}", begin,
                    begin + length - 1, axis, to_string(shape)));
  return shape.with(axis, length);
}

std::int64_t part_length(const Shape& shape, int axis, int parts) {
  if (shape[axis] % parts != 0)
    throw UserError(
        fmt::format("split: axis {} cannot be split into {} equal parts: operand 'x' is {}", axis,
                    parts, to_string(shape)));
  return shape[axis] / parts;
}

bool is_first_of_matrix(std::string_view op, const Shape& shape, int axis) {
  const int counted = checked_axis(op, shape, axis);
  if (counted == shape.rank() - 1) return false;
  if (counted != 0 || shape.rank() != 2)
    throw UserError(fmt::format("{}: axis {} is neither the last nor the first of a matrix: {}", op,
                                axis, to_string(shape)));
  return true;
}

}  // namespace espalier::detail
