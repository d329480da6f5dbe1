// Sums over all rows of a large minibatch, as of weight gradients: the error of blocks and of one
// chain, beside the number of roundings that each has behind it.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "codegen/cpu/host_targets.h"
#include "tests/codegen/kernel_runner.h"
#include "tests/support/rounding.h"

namespace espalier::codegen {
namespace {

constexpr std::int64_t rows = 100'000, columns = 20;

struct Sums {
  bool outer_product = false;
  std::int64_t block = 0;
};

/// gradient[j] = Σ over rows of x[row, j], or of 1 · x[row, j] as an outer product with m = 1.
Kernel sum_kernel(const Sums& sums) {
  Kernel kernel;
  KernelBuilder b(kernel);
  const BufferId gradient = b.buffer({.role = BufferRole::param_gradient, .row_elements = columns});
  const BufferId x = b.buffer({.role = BufferRole::contribution, .row_elements = columns});
  const BufferId ones = b.buffer({.role = BufferRole::contribution, .a = 1, .row_elements = 1});
  Stage s = sums.outer_product ? once_stage(b, {1, columns}) : once_stage(b, {columns});
  s.outer_product = sums.outer_product;
  const VarId row = b.variable();
  const ExprId j = b.var(s.variables.back());
  const ExprId value = b.load(x, b.add(b.multiply(b.var(row), columns), j));
  ExprId sum;
  if (sums.outer_product) {
    const ExprId one = b.load(ones, b.add(b.var(row), b.var(s.variables[0])));
    sum = b.reduce(Reduction::fma, row, b.integer(0), b.integer(rows), one, value, sums.block);
  } else {
    sum = b.reduce(Reduction::sum, row, b.integer(0), b.integer(rows), value, -1, sums.block);
  }
  s.stores = {{gradient, element(b, s), sum}};
  kernel.stages = {s};
  return kernel;
}

/// The largest relative error of a column. Within a column all rows are alike, so that roundings go
/// the same way; that is where a long chain is worst, and no sum of magnitudes hides it.
double error_of(const Sums& sums, const Target& target) {
  std::mt19937 random(3);
  std::uniform_real_distribution<float> uniform(1, 2);
  std::vector<float> terms(columns), x;
  for (float& term : terms) term = uniform(random);
  for (std::int64_t row = 0; row < rows; ++row) x.insert(x.end(), terms.begin(), terms.end());
  Memory memory;
  memory.add_floats(std::vector<float>(columns), true);
  memory.add_floats(x, true);
  memory.add_floats(std::vector<float>(rows, 1), true);
  run(compiler(target).compile(sum_kernel(sums)), memory, 0, 0);
  double error = 0;
  for (std::int64_t j = 0; j < columns; ++j) {
    const double wanted = double(rows) * terms[j];
    error = std::max(error, std::abs(memory.floats(0)[j] - wanted) / wanted);
  }
  return error;
}

TEST(BlockedSums, HaveTheErrorOfTheirRoundings) {
  // A term is in a chain of one block, whose sum is in the chain of the blocks.
  const double roundings = row_block + std::ceil(double(rows) / row_block);
  const double bound = roundings * test::kRounding;
  for (const Target& target : host_targets())
    for (bool outer_product : {false, true}) {
      SCOPED_TRACE(target.name + (outer_product ? ", outer product" : ", sum"));
      const double blocks = error_of({outer_product, row_block}, target);
      std::printf("%-8s %s, %ld rows in blocks: error %.1e", target.name.c_str(),
                  outer_product ? "product" : "sum    ", long{rows}, blocks);
      EXPECT_LE(blocks, bound);
      if (outer_product) {  // in one chain there is none
        std::printf("\n");
        continue;
      }
      const double chain = error_of({outer_product, 0}, target);
      std::printf(", in one chain %.1e\n", chain);
      EXPECT_GT(chain, bound);
      EXPECT_LE(chain, double(rows) * test::kRounding);
    }
}

}  // namespace
}  // namespace espalier::codegen
