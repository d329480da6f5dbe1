// The kernels of a step besides those of cells, for all params of a model at once, as cubins.
#include <gtest/gtest.h>

#include "codegen/nvrtc.h"
#include "models/models.h"
#include "runtime/modules.h"
#include "runtime/step_kernels.h"
#include "tests/support/cubin.h"
#include "training/optimizer.h"

namespace espalier::test {
namespace {

std::vector<codegen::Kernel> step_kernels(const ir::Program& program, codegen::Compiler& compiler) {
  std::vector<codegen::Packing> packings;
  runtime::Modules modules(program, compiler, true);
  for (ir::CellId cell = 0; cell < ir::CellId(program.cells.size()); ++cell)
    for (const auto* kernel : {modules.training(cell).forward, modules.training(cell).backward})
      for (const codegen::Packing& packing : kernel->kernel.packings) packings.push_back(packing);

  std::vector<std::int64_t> sizes;
  std::vector<StoredParam> stored;
  std::vector<runtime::Updated> by_rows, whole;
  std::int64_t width = 0;
  for (const ir::Param& param : program.params) {
    const std::int64_t size = param.shape.size(), columns = size / param.shape[0];
    const auto id = ir::ParamId(stored.size());
    stored.push_back({param.name, param.shape, std::size_t(size)});
    whole.push_back({id, size, 0});
    by_rows.push_back({id, size, param.name == "embed" ? columns : 0});
    if (param.name == "embed")
      width = columns;
    else
      sizes.push_back(size);
  }
  EXPECT_EQ(by_rows.front().width, width);
  std::vector<codegen::Kernel> kernels{
      runtime::pack_kernel(packings),
      runtime::seed_kernel(1),
      runtime::gather_kernel(1),
      runtime::row_sums_kernel(width, std::vector<std::int64_t>{codegen::row_stride(width), width}),
      runtime::add_rows_kernel(width),
      runtime::clear_kernel(sizes),
      runtime::squares_kernel(sizes, width),
      runtime::norm_kernel(100, 1)};
  for (const OptimizerInfo& info : optimizers()) {
    StandardOptimizer optimizer({.rule = info.defaults});
    optimizer.prepare(stored);
    for (const auto& params : {by_rows, whole})
      kernels.push_back(runtime::update_kernel(*optimizer.expression(), params));
  }
  return kernels;
}

class StepInCuda : public testing::TestWithParam<std::string> {};

TEST_P(StepInCuda, CompilesToOneLaunchEach) {
  if (codegen::nvrtc_state().version.empty()) GTEST_SKIP() << codegen::nvrtc_state().problem;
  codegen::Compiler compiler(codegen::cuda_target(GetParam()),
                             {codegen::default_cache_directory()});
  for (const models::ModelInfo& info : models::models()) {
    const auto model = info.make({.vocabulary = 1000, .embed = 300, .hidden = 150, .classes = 5});
    for (codegen::Kernel& kernel : step_kernels(model->program(), compiler)) {
      SCOPED_TRACE(kernel.name);
      const codegen::CompiledKernel& compiled = compiler.compile(std::move(kernel));
      ASSERT_EQ(compiled.cuda_stages.size(), 1U);
      EXPECT_LE(compiled.cuda_stages[0].shared_bytes, 48 << 10);
      const auto uses = kernels_in(compiled.cubin);
      ASSERT_EQ(uses.size(), 1U);
      EXPECT_EQ(uses[0].name, compiled.cuda_stages[0].symbol);
      EXPECT_LE(uses[0].registers, 128);
      EXPECT_EQ(uses[0].local_bytes, 0);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, StepInCuda, testing::Values("sm_80", "sm_90"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace espalier::test
