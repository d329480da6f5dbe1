// Printing of a library's products as plain loops. They do not run where the library does; they
// define what it computes, and tests run them.
#include <fmt/format.h>

#include "base/error.h"
#include "codegen/cuda/emitter.h"

namespace espalier::codegen {

namespace {

std::string widened(const LibraryContraction& product, const std::string& element) {
  return product.bf16 ? fmt::format("from_bf16({})", element) : element;
}

}  // namespace

CudaStage CudaEmitter::library_stage() {
  return stage_.library->over_rows ? library_outer_product() : library_contraction();
}

CudaStage CudaEmitter::library_contraction() {
  const LibraryContraction& product = *stage_.library;
  CudaStage result;
  result.parts = ceil_div(product.m, cuda_threads);
  line("for (i64 tile = block; tile < (row_end - row_begin) * {0}; tile += blocks) {{",
       result.parts);
  line("  const i64 row = row_begin + tile / {0}, j = tile % {0} * threads + threadIdx.x;",
       result.parts);
  line("  if (j >= {}) continue;", product.m);
  line("  float sum = 0;");
  line("  for (int k = 0; k < {}; ++k)", product.k);
  line("    sum = fmaf({}, {}, sum);",
       widened(product, fmt::format("b{}[k * {}ll + j]", product.b, product.b_pitch)),
       widened(product, fmt::format("b{}[row * {} + k]", product.a, product.a_pitch)));
  line("  b{}[row * {} + j] = sum;", product.out, product.out_pitch);
  line("}}");
  return result;
}

CudaStage CudaEmitter::library_outer_product() {
  const LibraryContraction& product = *stage_.library;
  const auto parts = match_outer_product(kernel_, stage_, analysis_);
  internal_check(parts.has_value(), "kernel '{}': an outer product of another form", kernel_.name);
  const Expr& sum = kernel_[parts->sum];
  const std::int64_t size = product.m * product.k;
  CudaStage result;
  result.parts = ceil_div(size, cuda_threads);
  const std::string end = value(sum.operands[1]);
  line("for (i64 e = i64(block) * threads + threadIdx.x; e < {}; e += i64(blocks) * threads) {{",
       size);
  line("  const i64 i = e / {0}, j = e % {0};", product.k);
  line("  float total = 0;");
  line("  for (i64 first = 0; first < {}; first += {}) {{", end, sum.block);
  line("    float sum = 0;");
  line("    for (i64 row = first; row < {0} && row < first + {1}; ++row)", end, sum.block);
  line("      sum = fmaf({}, {}, sum);",
       widened(product, fmt::format("b{}[row * {} + i]", product.a, product.a_pitch)),
       widened(product, fmt::format("b{}[row * {} + j]", product.b, product.b_pitch)));
  line("    total += sum;");
  line("  }}");
  const std::string to =
      fmt::format("b{}[i * {} + j + {}ll]", product.out, product.out_pitch, product.out_offset);
  line("  {} = {}total;", to, product.accumulates ? to + " + " : "");
  line("}}");
  return result;
}

}  // namespace espalier::codegen
