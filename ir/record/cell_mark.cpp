#include "ir/record/cell_mark.h"

#include "base/hash.h"
#include "ir/text/print.h"

namespace espalier::ir {

std::uint32_t cell_mark(const Program& program, const Cell& cell) {
  const std::uint32_t hash = fnv1a_32(print(cell, program));
  return hash == 0 ? 1 : hash;
}

}  // namespace espalier::ir
