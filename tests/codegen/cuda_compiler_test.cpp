// The compiler with a GPU as its target: cubins from both caches, and errors.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "codegen/compiler.h"
#include "codegen/cuda/emit.h"
#include "codegen/cuda/nvrtc.h"
#include "tests/codegen/sample_kernels.h"
#include "tests/support/temporary_folder.h"

namespace espalier::codegen {
namespace {

Kernel sample(const Target& target) { return contraction_kernel(target, {.n = 20, .k = 9}); }

class CudaCompiler : public testing::Test {
 protected:
  void SetUp() override {
    if (nvrtc_state().version.empty()) GTEST_SKIP() << nvrtc_state().problem;
  }
};

TEST_F(CudaCompiler, KeepsWhatItMadeInMemoryAndOnDisk) {
  const test::TemporaryFolder temporary;
  const std::filesystem::path folder = temporary.path();
  const Target target = cuda_target("sm_90");
  std::string cubin;
  {
    Compiler first(target, {folder});
    const CompiledKernel& made = first.compile(sample(target));
    EXPECT_TRUE(made.cubin.starts_with("\177ELF"));
    EXPECT_EQ(made.cuda_stages, print_cuda(sample(target)).stages);
    EXPECT_TRUE(made.stages.empty());
    EXPECT_EQ(&first.compile(sample(target)), &made);
    EXPECT_EQ(first.statistics().compilations, 1);
    EXPECT_EQ(first.statistics().memory_hits, 1);
    cubin = made.cubin;
  }
  Compiler second(target, {folder});
  EXPECT_EQ(second.compile(sample(target)).cubin, cubin);
  EXPECT_EQ(second.statistics().disk_hits, 1);
  EXPECT_EQ(second.statistics().compilations, 0);
  // The same text gives another object for another architecture.
  Compiler other(cuda_target("sm_80"), {folder});
  EXPECT_NE(other.compile(sample(target)).cubin, cubin);
  EXPECT_EQ(other.statistics().compilations, 1);
}

TEST_F(CudaCompiler, GivesTheLogOfWrongTexts) {
  try {
    compile_cubin("__device__ int f() { return nothing; }", "sm_90");
    FAIL() << "it compiled";
  } catch (const InternalError& error) {
    EXPECT_NE(std::string(error.what()).find("\"nothing\" is undefined"), std::string::npos)
        << error.what();
  }
}

TEST_F(CudaCompiler, RefusesUnknownArchitectures) {
  try {
    compile_cubin("", "sm_10");
    FAIL() << "it compiled";
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("'sm_10'"), std::string::npos) << error.what();
  }
  EXPECT_THROW(cuda_target("avx2"), UserError);
}

}  // namespace
}  // namespace espalier::codegen
