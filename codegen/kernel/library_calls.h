// Rewrites a lowered kernel for devices with a matrix library. A contraction becomes stages that
// gather its rows, multiply them by the weights and read the sums; outer products become gathered
// factors and one product. The result is ordinary kernel IR, with the same bits wherever products
// are summed in order. A stage with `library` may be replaced by a call of the library.
//
// Scratch buffers are padded with rows that no instance has. Contractions may leave any numbers
// there, which nobody reads; outer products sum over them, so they are set to 0 first.
#pragma once

#include <functional>

#include "codegen/kernel/kernel.h"

namespace espalier::codegen {

/// By what it is decided whether a library does a product. Not by its number of rows: a row's bits
/// must not depend on how many others there are.
struct ContractionShape {
  bool over_rows = false;           ///< an outer product [m, k], else a contraction
  std::int64_t m = 0;               ///< results of a row, all gates
  std::vector<std::int64_t> terms;  ///< lengths of the pieces that k consists of, gathered each
  int gates = 1;                    ///< of a contraction

  std::int64_t k() const;
  bool operator==(const ContractionShape&) const = default;
};
/// `contraction [750, 150 + 150] of 5 gates`
std::string to_string(const ContractionShape& shape);

/// The kernel with the products split off that `by_library` accepts. Weights are split everywhere
/// they are used or nowhere. Stages that have `library` already stay. If `bf16`, factors are
/// rounded to bfloat16.
Kernel split_library_contractions(Kernel kernel,
                                  const std::function<bool(const ContractionShape&)>& by_library,
                                  bool bf16 = false);

}  // namespace espalier::codegen
