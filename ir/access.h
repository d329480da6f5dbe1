// How a batch reads an operand of its instances: known from the layout, shown in reports. Kernels
// read all operands as gathered rows.
#pragma once

#include <cstdint>

namespace espalier::ir {

enum class Access : std::uint8_t {
  shared,      ///< all instances read one row
  contiguous,  ///< instance i reads row first + i
  gathered,    ///< instance i reads row rows[i]
};

}  // namespace espalier::ir
