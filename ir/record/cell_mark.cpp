#include "ir/record/cell_mark.h"

#include "ir/text/print.h"

namespace espalier::ir {

std::uint32_t cell_mark(const Program& program, const Cell& cell) {
  std::uint32_t hash = 0x811c9dc5;  // FNV-1a
  for (const char byte : print(cell, program))
    hash = (hash ^ static_cast<unsigned char>(byte)) * 0x01000193;
  return hash == 0 ? 1 : hash;
}

}  // namespace espalier::ir
