// All kernels of the models, of the size that is trained, as cubins: inference, training and sums
// over readers, with and without hoisting, each by itself and all of a step as a walker. Tiles keep
// their sums in registers.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <span>

#include "base/disk_cache.h"
#include "codegen/cuda/nvrtc.h"
#include "codegen/cuda/walker.h"
#include "codegen/kernel/print.h"
#include "ir/passes/fuse_contractions.h"
#include "ir/passes/hoist.h"
#include "ir/passes/simplify.h"
#include "models/models.h"
#include "runtime/step/cell_kernels.h"
#include "tests/codegen/model_kernels.h"
#include "tests/support/cubin.h"
#include "tests/support/golden.h"

namespace espalier::test {
namespace {

using codegen::CompiledKernel;

TEST(CudaText, OfATreeLstmNode) {
  const auto model = models::find_model("tree_lstm")
                         .make({.vocabulary = 1000, .embed = 300, .hidden = 150, .classes = 5});
  const ir::Program program = model->program();
  const auto node = std::ranges::find(program.cells, "node", &ir::Cell::name);
  ASSERT_NE(node, program.cells.end());
  const codegen::Kernel kernel = codegen::lower_forward(
      program, ir::simplify(ir::fuse_contractions(*node)), codegen::cuda_target("sm_90"));
  expect_golden("tests/golden/codegen/tree_lstm_node.cu.txt",
                codegen::print_cuda_stages(kernel, "").source);
}

class ModelsInCuda : public testing::TestWithParam<std::string> {};

TEST_P(ModelsInCuda, CompileWithoutSpills) {
  if (codegen::nvrtc_state().version.empty()) GTEST_SKIP() << codegen::nvrtc_state().problem;
  codegen::Compiler compiler(codegen::cuda_target(GetParam()), {default_cache_directory()});
  for (const models::ModelInfo& info : models::models()) {
    const auto model =
        info.make({.vocabulary = 1000, .embed = 300, .hidden = 150, .classes = 5, .dropout = 0.5});
    std::set<const CompiledKernel*> kernels = cell_kernels(model->program(), compiler);
    kernels.merge(cell_kernels(ir::Hoisting(model->program()).program(), compiler));
    int contractions = 0;
    for (const CompiledKernel* kernel : kernels) {
      std::map<std::string, KernelUse> uses;
      for (const KernelUse& use : kernels_in(kernel->cubin)) uses[use.name] = use;
      for (std::size_t s = 0; s < kernel->cuda_stages.size(); ++s) {
        const codegen::CudaStage& launched = kernel->cuda_stages[s];
        const bool tiles = std::ranges::any_of(
            std::span(kernel->kernel.stages).subspan(std::size_t(launched.first), launched.count()),
            [](const auto& stage) { return stage.contraction || stage.outer_product; });
        SCOPED_TRACE(kernel->kernel.name + ", " + launched.symbol);
        ASSERT_TRUE(uses.contains(launched.symbol));
        // What a launch may take without asking for more.
        EXPECT_LE(launched.shared_bytes, 48 << 10);
        EXPECT_LE(uses[launched.symbol].registers, 128);
        if (!tiles) continue;
        ++contractions;
        EXPECT_EQ(uses[launched.symbol].local_bytes, 0);
      }
    }
    EXPECT_GT(contractions, 10) << info.name;
  }
}

/// All that a training step runs, in the order of the texts.
std::vector<codegen::Kernel> step_of(const ir::Program& program, codegen::Compiler& compiler) {
  runtime::CellKernels modules = gpu_modules(program, compiler);
  std::map<std::string, codegen::Kernel> kernels;
  const auto add = [&](const codegen::Kernel& kernel) {
    kernels.emplace(codegen::print_kernel(kernel), kernel);
  };
  for (ir::CellId cell = 0; cell < ir::CellId(program.cells.size()); ++cell) {
    const runtime::TrainingKernels& training = modules.training(cell);
    for (const auto* kernel : {training.forward, training.backward, training.weights})
      add(kernel->kernel);
  }
  for (ir::StateId state = 0; state < ir::StateId(program.states.size()); ++state)
    add(modules.reader_sum(state).kernel);
  const UpdateRule adam = update_rule("adam");
  for (const codegen::Kernel& kernel : step_kernels(program, compiler, {&adam, 1})) add(kernel);
  std::vector<codegen::Kernel> result;
  for (auto& [text, kernel] : kernels) result.push_back(std::move(kernel));
  return result;
}

TEST_P(ModelsInCuda, WalkInFewRegisters) {
  if (codegen::nvrtc_state().version.empty()) GTEST_SKIP() << codegen::nvrtc_state().problem;
  codegen::Compiler compiler(codegen::cuda_target(GetParam()), {default_cache_directory()});
  for (const models::ModelInfo& info : models::models()) {
    const auto model =
        info.make({.vocabulary = 1000, .embed = 300, .hidden = 150, .classes = 5, .dropout = 0.5});
    const auto kernels = step_of(model->program(), compiler);
    std::vector<const codegen::Kernel*> all;
    for (const codegen::Kernel& kernel : kernels) all.push_back(&kernel);
    const codegen::WalkerText text = codegen::print_walker(all);
    const std::vector<KernelUse> uses = kernels_in(cached_cubin(text.source, GetParam()));
    ASSERT_EQ(uses.size(), 1U);
    EXPECT_EQ(uses[0].name, codegen::walk_symbol);
    EXPECT_LE(uses[0].registers, 128);
    // What is kept while a stage's function runs, no tile.
    EXPECT_LE(uses[0].local_bytes, 128) << info.name;
    for (const codegen::CudaStage& stage : text.stages) EXPECT_LE(stage.shared_bytes, 48 << 10);
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, ModelsInCuda, testing::Values("sm_80", "sm_90"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace espalier::test
