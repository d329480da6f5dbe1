// Printed CUDA C++, run on this machine's processor with grids of several sizes, against the
// interpreter.
#include <gtest/gtest.h>

#include "codegen/kernel/interpreter.h"
#include "codegen/kernel/verify.h"
#include "tests/codegen/sample_kernels.h"
#include "tests/support/host_cuda.h"

namespace espalier::codegen {
namespace {

std::int64_t rows_of(const Stage& stage, const Case& test) {
  if (stage.rows == RowDomain::once) return 1;
  return stage.rows == RowDomain::instances ? test.rows : test.child_rows;
}

/// Checks that all kernels, printed as one text, leave the same memory as the interpreter.
void check_printed(const std::vector<Case>& cases) {
  const Target target = cuda_target("sm_80");
  test::HostKernels host;
  std::vector<Kernel> kernels;
  std::vector<int> numbers;
  for (const Case& test : cases) {
    kernels.push_back(test.kernel(target));
    verify_kernel(kernels.back());
    numbers.push_back(host.add(kernels.back()));
  }
  host.compile();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const Kernel& kernel = kernels[i];
    const Memory initial = cases[i].memory(kernel);
    ASSERT_EQ(initial.buffers().size(), kernel.buffers.size());
    const Memory wanted = initial;
    for (std::size_t s = 0; s < kernel.stages.size(); ++s)
      interpret(kernel, int(s), wanted.pointers().data(), 0, rows_of(kernel.stages[s], cases[i]));
    for (const unsigned grid : {1U, 2U, 7U}) {
      const Memory got = initial;
      for (std::size_t s = 0; s < kernel.stages.size(); ++s) {
        // With two blocks, in two launches over halves of the rows.
        const std::int64_t rows = rows_of(kernel.stages[s], cases[i]), middle = rows / 2;
        const auto& launched = host.text(numbers[i]).stages;
        const bool joined = launched.size() < kernel.stages.size();
        const bool split = grid == 2 && kernel.stages[s].rows != RowDomain::once && !joined;
        const auto pointers = got.pointers();
        if (split) host.run(numbers[i], int(s), pointers.data(), 0, middle, grid);
        host.run(numbers[i], int(s), pointers.data(), split ? middle : 0, rows, grid);
      }
      compare(kernel, got, wanted, cases[i].expect, "a grid of " + std::to_string(grid));
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(Cuda, RandomKernelsGiveTheBitsOfTheInterpreter) {
  std::vector<Case> cases;
  for (unsigned seed = 0; seed < 120; ++seed)
    cases.push_back({.kernel = [=](const Target&) { return random_kernel(seed); },
                     .memory = [=](const Kernel&) { return random_kernel_memory(seed); },
                     .rows = random_kernel_rows});
  check_printed(cases);
}

Case contraction_case(const ContractionSample& shape) {
  return {.kernel = [=](const Target& target) { return contraction_kernel(target, shape); },
          .memory = [=](const Kernel& kernel) { return contraction_memory(kernel, shape); },
          .rows = shape.rows,
          .child_rows = shape.rows};
}

TEST(Cuda, ContractionsGiveTheBitsOfTheInterpreter) {
  std::vector<Case> cases;
  for (const std::int64_t rows : {0, 1, 2, 11, 12, 13, 24, 25, 70})
    cases.push_back(contraction_case({.n = 40, .k = 7, .rows = rows}));
  for (int gates = 1; gates <= 5; ++gates)
    for (const std::int64_t n : {1, 5, 16, 50})
      cases.push_back(contraction_case({.n = n, .k = 20, .gates = gates, .rows = 13}));
  for (const std::int64_t k : {1, 2, 3, 4, 5, 63, 64, 65, 200})
    cases.push_back(contraction_case({.n = 33, .k = k, .gates = 2, .rows = 9}));
  for (int terms = 1; terms <= 4; ++terms)
    cases.push_back(contraction_case(
        {.n = 21, .k = 31, .gates = 2, .terms = terms, .rows = 17, .gathered = true}));
  cases.push_back(contraction_case(
      {.n = 21, .k = 31, .terms = 2, .rows = 23, .gathered = true, .children = true}));
  cases.push_back(contraction_case({.n = 20, .k = 9, .gates = 16, .rows = 5}));
  check_printed(cases);
}

TEST(Cuda, ManyRowsTakeLargeTilesAndGiveTheSameBits) {
  std::vector<Case> cases;
  cases.push_back(
      contraction_case({.n = 150, .k = 70, .gates = 5, .terms = 2, .rows = 700, .gathered = true}));
  cases.push_back(contraction_case({.n = 5, .k = 19, .rows = 6200}));
  cases.push_back(contraction_case({.n = 100, .k = 17, .gates = 1, .rows = 3100}));
  for (const Case& large : cases) {
    const CudaText text = print_cuda(large.kernel(cuda_target("sm_80")));
    EXPECT_GE(large.rows, text.stages[0].large_from);
  }
  check_printed(cases);
}

/// y[j] = Σ over rows of x[row, j] - (maximum - 1): both reduced by the threads of a block.
Kernel column_kernel(std::int64_t n, Reduction sum = Reduction::sum) {
  Kernel kernel;
  KernelBuilder b(kernel);
  const BufferId y = b.buffer({.role = BufferRole::param_gradient, .row_elements = n});
  const BufferId x = b.buffer({.role = BufferRole::contribution, .row_elements = n});
  const BufferId count = b.buffer({.role = BufferRole::row_count, .a = -1});
  Stage s = once_stage(b, {n});
  const auto over_rows = [&](Reduction reduction, int less) {
    const VarId row = b.variable();
    const ExprId at = b.add(b.multiply(b.var(row), n), b.var(s.variables[0]));
    const int both[] = {b.load(x, at), less};
    return b.reduce(reduction, row, b.integer(0), b.load_index(count, b.integer(0)),
                    b.emit(ir::Opcode::sub, both, 0));
  };
  const ExprId greatest = over_rows(Reduction::max, b.number(1));
  s.stores = {{y, element(b, s), over_rows(sum, greatest)}};
  kernel.stages = {s};
  return kernel;
}

TEST(Cuda, SumsOverAllRowsAreSharedByABlock) {
  std::vector<Case> cases;
  for (const std::int64_t n : {1, 8, 20})
    for (const std::int32_t rows : {1, 31, 100})
      for (const Reduction sum : {Reduction::sum, Reduction::wide_sum})
        cases.push_back({.kernel = [=](const Target&) { return column_kernel(n, sum); },
                         .memory =
                             [=](const Kernel&) {
                               std::mt19937 random(5);
                               // Integers, whose sums are the same in any order.
                               std::vector<float> x(std::size_t(rows * n));
                               for (float& value : x) value = float(int(random() % 201) - 100);
                               Memory memory;
                               memory.add_floats(n, random);
                               memory.add_floats(x);
                               memory.add_integers(std::vector{rows});
                               return memory;
                             }});
  check_printed(cases);
}

/// y = 2 x row by row, a column sum, and a countdown of floats: three stages of different sizes.
Kernel joined_kernel(std::int64_t n, bool joined) {
  Kernel kernel = column_kernel(n);
  KernelBuilder b(kernel);
  const BufferId y = b.buffer({.role = BufferRole::contribution, .a = 1, .row_elements = n});
  const BufferId x = b.buffer({.role = BufferRole::contribution, .row_elements = n});
  Stage rows = instance_stage(b, {n});
  const ExprId at = element(b, rows), two[] = {b.load(x, at), b.number(2)};
  rows.stores = {{y, at, b.emit(ir::Opcode::mul, two, 0)}};
  Stage last = once_stage(b, {37, n});
  const BufferId z = b.buffer({.role = BufferRole::param_gradient, .a = 1, .row_elements = 37 * n});
  last.stores = {{z, element(b, last), b.to_float(element(b, last))}};
  kernel.stages.insert(kernel.stages.begin(), rows);
  kernel.stages.push_back(last);
  kernel.stages[1].joined = kernel.stages[2].joined = joined;
  return kernel;
}

TEST(Cuda, JoinedStagesRunInOneLaunch) {
  std::vector<Case> cases;
  for (const bool joined : {false, true})
    for (const std::int64_t n : {1, 20, 300})
      for (const std::int32_t rows : {0, 1, 40})
        cases.push_back({.kernel = [=](const Target&) { return joined_kernel(n, joined); },
                         .memory =
                             [=](const Kernel&) {
                               std::mt19937 random(5);
                               Memory memory;
                               memory.add_floats(n, random);
                               memory.add_floats(std::vector<float>(std::size_t(rows * n), 3.0F));
                               memory.add_integers(std::vector{rows});
                               memory.add_floats(rows * n, random);
                               memory.add_floats(37 * n, random);
                               return memory;
                             },
                         .rows = rows});
  check_printed(cases);

  const CudaText text = print_cuda(joined_kernel(20, true));
  ASSERT_EQ(text.stages.size(), 1U);
  const CudaText apart = print_cuda(joined_kernel(20, false));
  ASSERT_EQ(apart.stages.size(), 3U);
  std::int64_t tiles = 0;
  for (const CudaStage& stage : apart.stages) tiles += stage.tiles(100);
  EXPECT_EQ(text.stages[0].tiles(100), tiles);
}

// Tests the shim: lanes outside of a small team go on to the barrier of a larger team.
TEST(HostCuda, LanesMeetInTeamsOfSeveralSizes) {
  const test::HostModule module(R"(
extern "C" __global__ void sums(float* out) {
  const int thread = threadIdx.x;
  float few = thread, all = thread;
  if (thread < 8)
    for (int half = 4; half > 0; half /= 2) few += __shfl_xor_sync(0xffu, few, half);
  for (int half = 16; half > 0; half /= 2) all += __shfl_xor_sync(0xffffffffu, all, half);
  out[thread] = thread < 8 ? few : all;
})");
  for (const unsigned grid : {1, 2}) {  // threads begin from either end
    std::vector<float> out(32), expected(32, 31 * 32 / 2);
    std::fill_n(expected.begin(), 8, 7 * 8 / 2);
    void* argument = out.data();
    void* arguments[] = {&argument};
    module.launch(module.symbol("sums"), grid, 32, 0, arguments);
    EXPECT_EQ(out, expected);
  }
}

TEST(Cuda, OuterProductsGiveTheBitsOfTheInterpreter) {
  std::vector<OuterSample> samples;
  for (const std::int64_t m : {1, 3, 31, 32, 33, 70})
    for (const std::int64_t k : {1, 5, 64, 65, 150})
      samples.push_back({.m = m, .k = k, .rows = 3, .accumulate = (m + k) % 2 == 0});
  for (const std::int64_t rows : {0, 1, 2, 15, 16, 17, 31, 32, 33, 200})
    samples.push_back(
        {.m = 7, .k = 20, .rows = rows, .gathered = true, .accumulate = rows % 2 == 1});
  samples.push_back({.m = 750, .k = 300, .rows = 20, .gathered = true});
  samples.push_back({.m = 11, .k = 35, .rows = 20, .left_stride = 3});
  std::vector<Case> cases;
  for (const OuterSample& sample : samples)
    cases.push_back({.kernel = [=](const Target&) { return product_kernel(sample); },
                     .memory = [=](const Kernel&) { return product_memory(sample); }});
  check_printed(cases);
}

}  // namespace
}  // namespace espalier::codegen
