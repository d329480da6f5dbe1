// A thousand random cells: their passes, their gradients against central differences, and their
// kernels, forward, backward and weights, on every target, against the cell in double. Memory that
// nobody has stored to is NaN. tests/fuzz/random_check.cpp runs any number of them.
#include <gtest/gtest.h>

#include <memory>

#include "codegen/cpu/host_targets.h"
#include "ir/text/print.h"
#include "tests/support/host_cuda.h"
#include "tests/support/kernel_trial.h"
#include "tests/support/random_programs.h"

namespace espalier::test {
namespace {

constexpr std::uint64_t seeds_per_test = 100;

void expect_none(const Fault& fault, std::uint64_t seed, const ir::Program& program) {
  EXPECT_FALSE(fault) << "seed " << seed << ": " << fault.kind << "\n"
                      << ir::print(program) << fault.what;
}

class RandomCells : public testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(Seeds, RandomCells, testing::Range(0, 10));

TEST_P(RandomCells, KernelsAgreeWithDoubleAndCentralDifferences) {
  std::vector<codegen::Target> targets = codegen::host_targets();
  std::vector<std::shared_ptr<codegen::Compiler>> compilers;
  for (const codegen::Target& target : targets)
    compilers.push_back(std::make_shared<codegen::Compiler>(target));
  targets.push_back(codegen::cuda_target("sm_80"));
  for (std::uint64_t i = 0; i < seeds_per_test; ++i) {
    const std::uint64_t seed = std::uint64_t(GetParam()) * seeds_per_test + i;
    const ir::Program program = random_cell(seed);
    KernelTrial trial(program, seed);
    expect_none(trial.check_passes(), seed, program);
    if (HasFailure()) return;
    for (const codegen::Target& target : targets)
      expect_none(trial.check_kernels(interpreted(target)), seed, program);
    if (seed % 10 == 0)  // compiling takes ten times as long as all else
      expect_none(trial.check_kernels(compiled(compilers[seed / 10 % compilers.size()])), seed,
                  program);
    if (HasFailure()) return;
  }
}

TEST(RandomCellsInCuda, PrintedKernelsAgreeWithDouble) {
  constexpr std::uint64_t seeds = 48;
  const codegen::Target target = codegen::cuda_target("sm_80");
  HostKernels host;
  const auto each = [&](const auto& body) {
    for (std::uint64_t seed = 0; seed < seeds; ++seed) {
      const ir::Program program = random_cell(seed);
      KernelTrial trial(program, seed);
      expect_none(trial.check_passes(), seed, program);
      if (testing::Test::HasFailure()) return;
      body(trial, seed, program);
    }
  };
  each([&](const KernelTrial& trial, std::uint64_t, const ir::Program&) {
    for (const codegen::Kernel& kernel : trial.kernels(target)) host.add(kernel);
  });
  host.compile();
  unsigned grid = 0;
  const KernelPath printed{"printed", target,
                           [&](const codegen::Kernel& kernel, int stage, void* const* buffers,
                               std::int64_t begin, std::int64_t end) {
                             grid = grid % 7 + 1;
                             host.run(host.add(kernel), stage, buffers, begin, end, grid);
                           }};
  each([&](KernelTrial& trial, std::uint64_t seed, const ir::Program& program) {
    expect_none(trial.check_kernels(printed), seed, program);
  });
}

}  // namespace
}  // namespace espalier::test
