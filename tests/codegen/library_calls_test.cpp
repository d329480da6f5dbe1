// Kernels whose products are split off for a library: in order they have the bits of the whole
// ones, on any target, and they name the library's operands as it takes them.
#include "codegen/kernel/library_calls.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "codegen/cuda/emit.h"
#include "codegen/cuda/nvrtc.h"
#include "codegen/kernel/print.h"
#include "codegen/kernel/verify.h"
#include "models/models.h"
#include "tests/codegen/cell_check.h"
#include "tests/support/cubin.h"
#include "tests/support/host_cuda.h"
#include "tests/support/random_programs.h"

namespace espalier::test {
namespace {

using codegen::BufferRole;
using codegen::ContractionShape;
using codegen::Kernel;
using codegen::LibraryContraction;

Kernel split_all(Kernel kernel) {
  return codegen::split_library_contractions(std::move(kernel),
                                             [](const ContractionShape&) { return true; });
}

/// What a library does, as its documentation has it: rows in the order of memory, all of those that
/// the buffers have room for.
void multiply(const Kernel& kernel, const LibraryContraction& product, void* const* buffers,
              std::int64_t row_begin, std::int64_t row_end) {
  const auto at = [&](codegen::BufferId id) { return static_cast<float*>(buffers[id]); };
  const float *a = at(product.a), *b = at(product.b);
  float* const out = at(product.out) + product.out_offset;
  if (!product.over_rows) {
    const std::int64_t rows = codegen::padded_rows(row_end - row_begin);
    for (std::int64_t r = row_begin; r < row_begin + rows; ++r)
      for (std::int64_t j = 0; j < product.m; ++j) {
        float sum = 0;
        for (std::int64_t k = 0; k < product.k; ++k)
          sum = std::fma(a[r * product.a_pitch + k], b[k * product.b_pitch + j], sum);
        out[r * product.out_pitch + j] = sum;
      }
    return;
  }
  EXPECT_EQ(kernel.buffers[std::size_t(product.a)].padded, true);
  const std::int64_t rows = codegen::padded_rows(row_end - row_begin);
  for (std::int64_t i = 0; i < product.m; ++i)
    for (std::int64_t j = 0; j < product.k; ++j) {
      float sum = 0, block = 0;
      for (std::int64_t r = 0; r < rows; ++r) {
        block = std::fma(a[r * product.a_pitch + i], b[r * product.b_pitch + j], block);
        if ((r + 1) % codegen::row_block != 0 && r + 1 != rows) continue;
        sum += block;
        block = 0;
      }
      float& to = out[i * product.out_pitch + j];
      to = product.accumulates ? to + sum : sum;
    }
}

struct CellCase {
  std::shared_ptr<const ir::Program> program;
  const ir::Cell* cell = nullptr;
  std::vector<CellInputs> inputs;
};

std::vector<CellCase> cells_of(std::shared_ptr<const ir::Program> program, int index_bound,
                               std::uint64_t seed) {
  std::vector<CellCase> cases;
  for (const ir::Cell& cell : program->cells) {
    Random random(seed);
    CellCase& made = cases.emplace_back(CellCase{program, &cell, {}});
    for (int i = 0; i < 7; ++i)
      made.inputs.push_back(random_inputs(*program, cell, random, index_bound, i % 4));
    made.inputs = as_floats(made.inputs);
  }
  return cases;
}

std::vector<CellCase> cells() {
  std::vector<CellCase> cases;
  for (const models::ModelInfo& model : models::models()) {
    const auto made = model.make({.vocabulary = 11, .embed = 21, .hidden = 18, .classes = 5});
    std::ranges::move(cells_of(std::make_shared<const ir::Program>(made->program()), 5, 1),
                      std::back_inserter(cases));
  }
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    const RandomProgramOptions options{.width = 3 + int(seed % 5) * 4, .withheld_gradients = true};
    std::ranges::move(cells_of(std::make_shared<const ir::Program>(random_program(seed, options)),
                               random_index_bound, seed),
                      std::back_inserter(cases));
  }
  return cases;
}

/// Runs the cells as `runner` says and whole by the interpreter, and compares all but scratch.
void check_cells(const std::vector<CellCase>& cases, const Runner& runner, bool ordered_sums) {
  const Runner whole{runner.target, interpreter().run};
  for (const CellCase& of : cases) {
    SCOPED_TRACE(of.cell->name);
    Random random(1), same(1);
    CellCheck ours(*of.program, *of.cell, of.inputs, random, runner);
    CellCheck wanted(*of.program, *of.cell, of.inputs, same, whole);
    ours.run();
    wanted.run();
    for (const auto& [key, values] : wanted.harness().memory()) {
      const BufferRole role = std::get<0>(key);
      if (role == BufferRole::scratch || role == BufferRole::partial) continue;
      if (role == BufferRole::param_gradient && !ordered_sums) continue;
      EXPECT_TRUE(same_bits(ours.harness().memory().at(key), values)) << "role " << int(role);
    }
    if (testing::Test::HasFailure()) return;
  }
}

TEST(Contractions, SplitKernelsHaveTheBitsOfWholeOnes) {
  check_cells(cells(), {codegen::cuda_target("sm_80"), interpreter().run, split_all}, true);
}

TEST(Contractions, ALibraryCanDoThem) {
  int contractions = 0, over_rows = 0;
  const auto run = [&](const Kernel& kernel, int stage, void* const* buffers, std::int64_t begin,
                       std::int64_t end) {
    const auto& product = kernel.stages[std::size_t(stage)].library;
    if (!product) return interpreter().run(kernel, stage, buffers, begin, end);
    ++(product->over_rows ? over_rows : contractions);
    multiply(kernel, *product, buffers, begin, product->over_rows ? begin + 7 : end);
  };
  // Seven rows of a cell, and other numbers of children: only cells without children.
  std::vector<CellCase> cases = cells();
  std::erase_if(cases, [](const CellCase& of) {
    return std::ranges::any_of(
        of.cell->ports, [](const ir::Port& port) { return port.kind == ir::PortKind::children; });
  });
  check_cells(cases, {codegen::cuda_target("sm_80"), run, split_all}, true);
  EXPECT_GT(contractions, 10);
  EXPECT_GT(over_rows, 10);
}

TEST(Contractions, PrintedStagesAgree) {
  const codegen::Target target = codegen::cuda_target("sm_80");
  const Runner interpreted{target, interpreter().run, split_all};
  const std::vector<CellCase> cases = cells();
  HostKernels host;
  for (const CellCase& of : cases) {
    Random random(1);
    const CellCheck check(*of.program, *of.cell, of.inputs, random, interpreted);
    for (const Kernel* kernel : check.kernels()) host.add(*kernel);
  }
  host.compile();
  unsigned grid = 0;
  const Runner printed{target,
                       [&](const Kernel& kernel, int stage, void* const* buffers,
                           std::int64_t begin, std::int64_t end) {
                         grid = grid % 5 + 1;
                         // What is shared among threads is not in order: by the interpreter.
                         const int number = host.add(kernel);
                         const auto& source = host.text(number).source;
                         if (source.find("constexpr int members") != std::string::npos)
                           return interpreter().run(kernel, stage, buffers, begin, end);
                         host.run(number, stage, buffers, begin, end, grid);
                       },
                       split_all};
  check_cells(cases, printed, true);
}

TEST(Contractions, FactorsInBfloat16AreRoundedAlikeByAll) {
  const auto model = models::find_model("tree_lstm")
                         .make({.vocabulary = 11, .embed = 21, .hidden = 18, .classes = 5});
  const auto program = std::make_shared<const ir::Program>(model->program());
  const codegen::Target target = codegen::cuda_target("sm_80");
  const Runner runner{target, interpreter().run, [](Kernel kernel) {
                        return codegen::split_library_contractions(
                            std::move(kernel), [](const ContractionShape&) { return true; }, true);
                      }};
  HostKernels host;
  std::vector<std::vector<Kernel>> kernels;
  const std::vector<CellCase> cases = cells_of(program, 5, 1);
  for (const CellCase& of : cases) {
    Random random(1);
    const CellCheck check(*program, *of.cell, of.inputs, random, runner);
    kernels.emplace_back();
    for (const Kernel* kernel : check.kernels()) {
      codegen::verify_kernel(*kernel);
      kernels.back().push_back(*kernel);
      host.add(*kernel);
    }
  }
  host.compile();
  int rounded = 0;
  for (std::size_t c = 0; c < cases.size(); ++c) {
    SCOPED_TRACE(cases[c].cell->name);
    Random random(1), same(1);
    KernelHarness wanted(*program, *cases[c].cell, cases[c].inputs, random);
    KernelHarness ours(*program, *cases[c].cell, cases[c].inputs, same);
    std::vector<std::vector<std::vector<double>>> cotangents(cases[c].inputs.size());
    for (auto& own : cotangents)
      for (const ir::Type& field : program->states[std::size_t(cases[c].cell->state)].fields)
        own.push_back(random.reals(field.shape.size(), -1, 1));
    wanted.set_cotangents(cotangents);
    ours.set_cotangents(cotangents);
    for (const Kernel& kernel : kernels[c]) {
      if (host.text(host.add(kernel)).source.find("constexpr int members") != std::string::npos)
        continue;  // sums in another order
      rounded += std::ranges::any_of(kernel.buffers, &codegen::Buffer::bf16);
      wanted.run(kernel, interpreter().run);
      ours.run(kernel,
               [&](const Kernel& of, int stage, void* const* buffers, std::int64_t begin,
                   std::int64_t end) { host.run(host.add(of), stage, buffers, begin, end, 3); });
    }
    for (const auto& [key, values] : wanted.memory())
      EXPECT_TRUE(same_bits(ours.memory().at(key), values)) << "role " << int(std::get<0>(key));
  }
  EXPECT_GT(rounded, 2);
}

TEST(Contractions, SplitKernelsOfTheModelsCompileForGpus) {
  if (codegen::nvrtc_state().version.empty()) GTEST_SKIP() << codegen::nvrtc_state().problem;
  for (const models::ModelInfo& info : models::models()) {
    const auto model =
        info.make({.vocabulary = 1000, .embed = 300, .hidden = 150, .classes = 5, .dropout = 0.5});
    const ir::Program program = model->program();
    std::string source(codegen::cuda_prelude());
    int number = 0;
    for (const bool bf16 : {false, true}) {
      const Runner runner{codegen::cuda_target("sm_80"), interpreter().run, [&](Kernel kernel) {
                            return codegen::split_library_contractions(
                                std::move(kernel), [](const ContractionShape&) { return true; },
                                bf16);
                          }};
      for (const ir::Cell& cell : program.cells) {
        Random random(1);
        const CellCheck check(program, cell, {random_inputs(program, cell, random, 5, 2)}, random,
                              runner);
        for (const Kernel* kernel : check.kernels())
          source += codegen::print_cuda_stages(*kernel, fmt::format("k{}_", number++)).source;
      }
    }
    for (const char* gpu : {"sm_80", "sm_90"}) EXPECT_FALSE(cached_cubin(source, gpu).empty());
  }
}

TEST(Contractions, RoundsToTheNearestBfloat16) {
  const auto rounded = [](float x) { return codegen::from_bf16(codegen::to_bf16(x)); };
  EXPECT_EQ(rounded(1.0F), 1.0F);
  EXPECT_EQ(rounded(1 + 0x1p-8F), 1.0F);             // a tie, to even
  EXPECT_EQ(rounded(1 + 3 * 0x1p-8F), 1 + 0x1p-6F);  // another
  EXPECT_EQ(rounded(-1 - 0x1.8p-8F), -1 - 0x1p-7F);
  EXPECT_EQ(rounded(INFINITY), INFINITY);
  EXPECT_EQ(rounded(3.4e38F), INFINITY);
  EXPECT_TRUE(std::isnan(rounded(NAN)));
  EXPECT_EQ(rounded(-0.0F), 0.0F);
}

TEST(Contractions, PiecesOfAGradientAreOneProduct) {
  const auto model = models::find_model("tree_lstm")
                         .make({.vocabulary = 11, .embed = 21, .hidden = 18, .classes = 5});
  const ir::Program program = model->program();
  std::vector<ContractionShape> shapes;
  for (const ir::Cell& cell : program.cells) {
    if (cell.name != "node") continue;
    Random random(1);
    const CellCheck check(program, cell, {random_inputs(program, cell, random, 5, 2)}, random,
                          interpreter());
    for (const Kernel* kernel : check.kernels())
      codegen::split_library_contractions(*kernel, [&](const ContractionShape& shape) {
        shapes.push_back(shape);
        return true;
      });
  }
  // u · [h, h], its transpose, and its gradient.
  ASSERT_EQ(shapes.size(), 3U);
  EXPECT_EQ(to_string(shapes[0]), "contraction [90, 18 + 18] of 5 gates");
  EXPECT_EQ(to_string(shapes[1]), "contraction [36, 90] of 2 gates");
  EXPECT_EQ(to_string(shapes[2]), "outer product [90, 18 + 18]");
}

TEST(Contractions, WhatAKernelHasJustMadeIsNotGathered) {
  const auto model = models::find_model("tree_lstm")
                         .make({.vocabulary = 11, .embed = 21, .hidden = 18, .classes = 5});
  const ir::Program program = model->program();
  const auto node = std::ranges::find(program.cells, "node", &ir::Cell::name);
  ASSERT_NE(node, program.cells.end());
  Random random(1);
  const CellCheck check(program, *node, {random_inputs(program, *node, random, 5, 2)}, random,
                        interpreter());
  const Kernel &forward = *check.kernels()[0], &backward = *check.kernels()[1];
  // Rows of children are gathered; those of the gates' gradients come from the stage before.
  EXPECT_EQ(split_all(forward).stages.size(), forward.stages.size() + 2);
  EXPECT_EQ(split_all(backward).stages.size(), backward.stages.size() + 1);
  for (const Kernel* kernel : check.kernels()) {
    const Kernel once = split_all(*kernel);
    EXPECT_EQ(codegen::print_kernel(split_all(once)), codegen::print_kernel(once));
  }
}

TEST(Contractions, PaddedRowsAreFewNumbersAndNeverNone) {
  EXPECT_EQ(codegen::padded_rows(0), 16);
  EXPECT_EQ(codegen::padded_rows(1), 16);
  EXPECT_EQ(codegen::padded_rows(16), 16);
  EXPECT_EQ(codegen::padded_rows(65), 80);
  EXPECT_EQ(codegen::padded_rows(1000), 1024);
  std::int64_t numbers = 0;
  for (std::int64_t rows = 1; rows <= 4096; ++rows) {
    const std::int64_t padded = codegen::padded_rows(rows);
    EXPECT_GE(padded, rows);
    EXPECT_LE(padded, std::max<std::int64_t>(16 * ((rows + 15) / 16), rows + rows / 4));
    EXPECT_EQ(codegen::padded_rows(padded), padded);
    numbers += padded == rows;
  }
  EXPECT_LE(numbers, 32);
}

}  // namespace
}  // namespace espalier::test
