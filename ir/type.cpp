#include "ir/type.h"

#include <vector>

#include "base/error.h"

namespace espalier::ir {

Shape::Shape(std::span<const std::int64_t> extents) {
  user_check(extents.size() <= max_rank, "a shape has at most {} axes, found {}", max_rank,
             extents.size());
  for (std::int64_t extent : extents) {
    user_check(extent > 0 && extent <= INT32_MAX, "an extent must lie in 1 … {}, found {}",
               INT32_MAX, extent);
    extents_[rank_++] = static_cast<std::int32_t>(extent);
  }
  std::int64_t elements = 1;
  for (std::int64_t extent : extents) {
    user_check(!__builtin_mul_overflow(elements, extent, &elements) && elements <= INT64_C(1) << 40,
               "a shape of more than 2^40 elements: {}", to_string(*this));
  }
}

std::int64_t Shape::size() const {
  std::int64_t elements = 1;
  for (int axis = 0; axis < rank_; ++axis) elements *= extents_[axis];
  return elements;
}

Shape Shape::without_first() const { return without(0); }

Shape Shape::without(int axis) const {
  Shape result;
  for (int i = 0; i < rank_; ++i)
    if (i != axis) result.extents_[result.rank_++] = extents_[i];
  return result;
}

Shape Shape::with(int axis, std::int64_t extent) const {
  std::vector<std::int64_t> extents(extents_.begin(), extents_.begin() + rank_);
  extents[axis] = extent;
  return Shape(std::span<const std::int64_t>(extents));
}

Shape Shape::prepend(std::int64_t extent) const {
  std::vector<std::int64_t> extents{extent};
  extents.insert(extents.end(), extents_.begin(), extents_.begin() + rank_);
  return Shape(std::span<const std::int64_t>(extents));
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (int axis = 0; axis < shape.rank(); ++axis)
    text += (axis ? ", " : "") + std::to_string(shape[axis]);
  return text + "]";
}

std::string to_string(const Type& type) {
  std::string text = (type.dtype == DType::f32 ? "f32" : "i32") + to_string(type.shape);
  if (type.children != per_instance) text += "*" + std::to_string(type.children);
  return text;
}

}  // namespace espalier::ir
