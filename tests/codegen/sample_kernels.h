// Kernels made by hand or at random, and memory for them: tests of every emitter run the same ones.
#pragma once

#include "tests/codegen/kernel_runner.h"

namespace espalier::codegen {

struct ContractionSample {
  std::int64_t n = 1, k = 1;
  int gates = 1, terms = 1;
  std::int64_t rows = 1;
  bool gathered = false, children = false;
};

/// y[row, j] += Σ over gates g of (g + 1) · accumulator g, + bias[j] · x0's first element; and each
/// gate by itself.
Kernel contraction_kernel(const Target& target, const ContractionSample& shape);
Memory contraction_memory(const Kernel& kernel, const ContractionSample& shape);

/// A weight gradient.
struct OuterSample {
  std::int64_t m = 1, k = 1, rows = 1;
  bool gathered = false, accumulate = false;
  std::int64_t left_stride = 1;
};

Kernel product_kernel(const OuterSample& shape);
Memory product_memory(const OuterSample& shape);

/// Random expressions in random loop nests over `random_kernel_rows` rows; no functions but sqrt.
inline constexpr std::int64_t random_kernel_rows = 5;
Kernel random_kernel(unsigned seed);
Memory random_kernel_memory(unsigned seed);

}  // namespace espalier::codegen
