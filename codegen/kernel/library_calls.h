// Products that a library can do: a contraction becomes stages that gather its rows, multiply them
// by the weights and read the sums; outer products become gathered factors and one product. Made
// from lowered kernels for devices with such a library. What remains is ordinary kernel IR with the
// same bits wherever products are summed in order; a stage with `library` may be left to it.
//
// Scratch rows beyond those there are belong to nobody: contractions leave anything there, which
// nobody reads; outer products sum over them, so they are set to 0 first.
#pragma once

#include <functional>

#include "codegen/kernel/kernel.h"

namespace espalier::codegen {

/// What a library's product is chosen by. Not by its number of rows: a row must have the same bits
/// among any others.
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

/// The kernel with those products split off that `by_library` says yes to; the same weights are
/// either split wherever they are used or nowhere; what is a library's already stays. If `bf16`,
/// factors are rounded to that.
Kernel split_library_contractions(Kernel kernel,
                                  const std::function<bool(const ContractionShape&)>& by_library,
                                  bool bf16 = false);

}  // namespace espalier::codegen
