// Printing of contractions that are a library's: plain loops, which nobody runs where there is the
// library, but which say on every machine what it is to compute.
#include <fmt/format.h>

#include "codegen/cuda_emitter.h"

namespace espalier::codegen {

CudaStage CudaEmitter::library_contraction() {
  const LibraryProduct& product = *stage_.library;
  CudaStage result;
  result.parts = (product.m + cuda_threads - 1) / cuda_threads;
  line("for (i64 tile = block; tile < (row_end - row_begin) * {0}; tile += blocks) {{",
       result.parts);
  line("  const i64 row = row_begin + tile / {0}, j = tile % {0} * threads + threadIdx.x;",
       result.parts);
  line("  if (j >= {}) continue;", product.m);
  line("  float sum = 0;");
  line("  for (int k = 0; k < {}; ++k)", product.k);
  line("    sum = fmaf(b{}[k * {}ll + j], b{}[row * {} + k], sum);", product.b, product.b_pitch,
       product.a, product.a_pitch);
  line("  b{}[row * {} + j] = sum;", product.out, product.out_pitch);
  line("}}");
  return result;
}

}  // namespace espalier::codegen
