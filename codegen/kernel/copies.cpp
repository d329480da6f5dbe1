#include "codegen/kernel/copies.h"

namespace espalier::codegen {

std::int64_t copied_floats(const Kernel& kernel, const Stage& stage) {
  std::int64_t elements = 1;
  for (const std::int64_t extent : stage.extents) elements *= extent;
  std::int64_t floats = 0;
  for (const Store& store : stage.stores)
    if (kernel[store.value].kind == ExprKind::load) floats += elements;
  return floats;
}

}  // namespace espalier::codegen
