// Recursive networks with a matrix, or a tensor, per node (RNTN, Socher et al. 2013; MV-RNN, Socher
// et al. 2012): their products are contractions forward, backward and for the weights.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "base/disk_cache.h"
#include "codegen/compiler.h"
#include "codegen/cpu/host_targets.h"
#include "codegen/kernel/print.h"
#include "ir/text/parse.h"
#include "tests/codegen/cell_check.h"

namespace espalier::test {
namespace {

using codegen::Kernel;
using codegen::Stage;

/// Cells for vectors of `d` numbers. A name ends where a width is to stand.
ir::Program program(std::string text, int d) {
  const auto replace = [&](const std::string& what, int with) {
    for (std::size_t at; (at = text.find(what)) != std::string::npos;)
      text.replace(at, what.size(), std::to_string(with));
  };
  replace("2D", 2 * d);
  replace("DD", d * d);
  replace("D", d);
  return ir::parse(text, "products");
}

const char* const tensor_layer = R"(program p
param form [D, 2D, 2D] glorot
param w [D, 2D] glorot
state S f32[D]
cell node(l: child S, r: child S) -> S {
  %0 = port l.0 : f32[D]
  %1 = port r.0 : f32[D]
  %2 = concat(%0, %1, axis=0) : f32[2D]
  %3 = param form : f32[D, 2D, 2D]
  %4 = bilinear(%3, %2, %2) : f32[D]
  %5 = param w : f32[D, 2D]
  %6 = matmul(%5, %2) : f32[D]
  %7 = add(%4, %6) : f32[D]
  %8 = tanh(%7) : f32[D]
  return %8
})";

const char* const matrix_vector = R"(program p
param w [D, 2D] glorot
param m [D, 2D] glorot
state S f32[D] f32[D, D]
cell node(l: child S, r: child S) -> S {
  %0 = port l.0 : f32[D]
  %1 = port l.1 : f32[D, D]
  %2 = port r.0 : f32[D]
  %3 = port r.1 : f32[D, D]
  %4 = matmul(%3, %0) : f32[D]
  %5 = matmul(%1, %2) : f32[D]
  %6 = concat(%4, %5, axis=0) : f32[2D]
  %7 = param w : f32[D, 2D]
  %8 = matmul(%7, %6) : f32[D]
  %9 = tanh(%8) : f32[D]
  %10 = concat(%1, %3, axis=0) : f32[2D, D]
  %11 = param m : f32[D, 2D]
  %12 = matmul(%11, %10) : f32[D, D]
  return %9, %12
})";

/// Weights that meet a few columns a node: their gradient has more numbers than these.
const char* const few_columns = R"(program p
param w [D, 2D] glorot
param u [2D, D] glorot
state In f32[2D, 3]
state S f32[D, 3] f32[D, 3]
cell node(x: child In, hs: children In) -> S {
  %0 = port x.0 : f32[2D, 3]
  %1 = param w : f32[D, 2D]
  %2 = matmul(%1, %0) : f32[D, 3]
  %3 = tanh(%2) : f32[D, 3]
  %4 = param u : f32[2D, D]
  %5 = transpose(%4) : f32[D, 2D]
  %6 = port hs.0 : f32[2D, 3]*hs
  %7 = matmul(%5, %6) : f32[D, 3]*hs
  %8 = tanh(%7) : f32[D, 3]*hs
  %9 = sum_children(%8) : f32[D, 3]
  return %3, %9
})";

/// Weights on the right: back, they are turned. Those that children meet are read as they lie.
const char* const right_weights = R"(program p
param w [2D, D] glorot
state In f32[D, 2D]
state S f32[D, D] f32[D, D]
cell node(x: child In, hs: children In) -> S {
  %0 = port x.0 : f32[D, 2D]
  %1 = param w : f32[2D, D]
  %2 = matmul(%0, %1) : f32[D, D]
  %3 = port hs.0 : f32[D, 2D]*hs
  %4 = matmul(%3, %1) : f32[D, D]*hs
  %5 = sum_children(%4) : f32[D, D]
  return %2, %5
})";

std::vector<CellInputs> inputs_of(const ir::Program& program, Random& random) {
  std::vector<CellInputs> inputs;
  for (int i = 0; i < 5; ++i)
    inputs.push_back(random_inputs(program, program.cells[0], random, 1, i % 3));
  return as_floats(inputs);
}

class Products : public testing::TestWithParam<const char*> {};

TEST_P(Products, AgreeWithDouble) {
  std::vector<Runner> runners{interpreter()};
  for (const codegen::Target& target : codegen::host_targets()) {
    const auto compiler = std::make_shared<codegen::Compiler>(
        target, codegen::CompilerOptions{default_cache_directory()});
    runners.push_back({target, [compiler](const Kernel& kernel, int stage, void* const* buffers,
                                          std::int64_t begin, std::int64_t end) {
                         const auto& made = compiler->compile(kernel).stages[std::size_t(stage)];
                         made.run(buffers, begin, end, 0, made.parts);
                       }});
  }
  // Tiles with and without a rest of rows and of columns.
  for (const int d : {1, 3, 7, 16, 21})
    for (const Runner& runner : runners) {
      SCOPED_TRACE(runner.target.name + ", width " + std::to_string(d));
      const ir::Program p = program(GetParam(), d);
      Random random(d);
      CellCheck(p, p.cells[0], inputs_of(p, random), random, runner).run();
      if (HasFailure()) return;
    }
}

/// Floats that the kernels keep for each instance from the backward pass to the weights.
std::int64_t kept(const Kernel& backward) {
  std::int64_t floats = 0;
  for (const codegen::Buffer& buffer : backward.buffers)
    if (buffer.role == codegen::BufferRole::contribution) floats += buffer.row_elements;
  return floats;
}

TEST_P(Products, WeightGradientsAreOuterProductsOrSmall) {
  const int d = 16;
  const ir::Program p = program(GetParam(), d);
  Random random(2);
  const Runner runner = interpreter();
  const CellCheck check(p, p.cells[0], inputs_of(p, random), random, runner);
  const Kernel &backward = *check.kernels()[1], &weights = *check.kernels()[2];
  for (const Stage& stage : weights.stages)
    EXPECT_TRUE(stage.outer_product || stage.extents[0] <= 2 * d * d)
        << codegen::print_kernel(weights);
  // What a row of weights meets, not the weights' gradient of each instance.
  EXPECT_LE(kept(backward), 8 * d * d) << codegen::print_kernel(backward);
}

INSTANTIATE_TEST_SUITE_P(Networks, Products,
                         testing::Values(tensor_layer, matrix_vector, few_columns, right_weights));

/// A weight gradient of d · 2d · 2d numbers is never written for each instance.
TEST(TensorLayer, HasOneOuterProductForItsForm) {
  const int d = 8;
  const ir::Program p = program(tensor_layer, d);
  Random random(2);
  const Runner runner = interpreter();
  const CellCheck check(p, p.cells[0], inputs_of(p, random), random, runner);
  std::vector<std::vector<std::int64_t>> products;
  for (const Stage& stage : check.kernels()[2]->stages)
    if (stage.outer_product) products.push_back(stage.extents);
  EXPECT_TRUE(std::ranges::find(products, std::vector<std::int64_t>{d, 4 * d * d}) !=
              products.end());
  // Forward and back, the form meets vectors in a contraction.
  for (const int kernel : {0, 1})
    EXPECT_GE(std::ranges::count_if(check.kernels()[std::size_t(kernel)]->stages,
                                    [](const Stage& stage) { return bool(stage.contraction); }),
              1);
}

}  // namespace
}  // namespace espalier::test
