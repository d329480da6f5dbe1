// The kernels of a step that do not belong to cells, for all params of a model at once, as cubins.
#include <gtest/gtest.h>

#include "base/disk_cache.h"
#include "codegen/cuda/nvrtc.h"
#include "models/models.h"
#include "tests/codegen/model_kernels.h"
#include "tests/support/cubin.h"
#include "training/optimizer.h"
#include "training/update_rule.h"

namespace espalier::test {
namespace {

class StepInCuda : public testing::TestWithParam<std::string> {};

TEST_P(StepInCuda, CompilesToOneLaunchEach) {
  if (codegen::nvrtc_state().version.empty()) GTEST_SKIP() << codegen::nvrtc_state().problem;
  codegen::Compiler compiler(codegen::cuda_target(GetParam()), {default_cache_directory()});
  std::vector<UpdateRule> rules;
  for (const OptimizerInfo& info : optimizers()) rules.push_back(info.defaults);
  for (const models::ModelInfo& info : models::models()) {
    const auto model = info.make({.vocabulary = 1000, .embed = 300, .hidden = 150, .classes = 5});
    for (codegen::Kernel& kernel : step_kernels(model->program(), compiler, rules)) {
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
