// Printed CUDA C++ of cells: one for each op, random ones, and those of the models. On this
// machine's processor, the results must agree with the cells in double precision, and bit by bit
// with the interpreter unless a sum is split. All must compile for GPUs.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <regex>
#include <set>

#include "codegen/cuda/emit.h"
#include "codegen/cuda/nvrtc.h"
#include "models/models.h"
#include "tests/codegen/cell_check.h"
#include "tests/support/cubin.h"
#include "tests/support/host_cuda.h"
#include "tests/support/op_cells.h"
#include "tests/support/random_programs.h"

namespace espalier::test {
namespace {

using codegen::Kernel;

/// A cell with its inputs, to be checked with every runner.
struct CellCase {
  std::string name;
  std::shared_ptr<const ir::Program> program;
  const ir::Cell* cell = nullptr;
  std::vector<CellInputs> inputs;

  std::unique_ptr<CellCheck> check(Random& random, const Runner& runner) const {
    return std::make_unique<CellCheck>(*program, *cell, inputs, random, runner);
  }
};

/// Whether no stage splits a sum among threads.
bool keeps_order(const HostKernels& host, int number) {
  return host.text(number).source.find("constexpr int members") == std::string::npos;
}

void check_cells(const std::vector<CellCase>& cases) {
  const codegen::Target target = codegen::cuda_target("sm_80");
  const Runner interpreted{target, interpreter().run};
  HostKernels host;
  for (const CellCase& of : cases) {
    Random random(1);
    const auto check = of.check(random, interpreted);
    for (const Kernel* kernel : check->kernels()) host.add(*kernel);
  }
  host.compile();
  unsigned grid = 0;
  const Runner printed{target, [&](const Kernel& kernel, int stage, void* const* buffers,
                                   std::int64_t begin, std::int64_t end) {
                         grid = grid % 7 + 1;
                         host.run(host.add(kernel), stage, buffers, begin, end, grid);
                       }};
  for (const CellCase& of : cases) {
    SCOPED_TRACE(of.name);
    Random random(1), same(1);
    const auto ours = of.check(random, printed), wanted = of.check(same, interpreted);
    ours->run();
    wanted->run();
    bool ordered = true, forward_ordered = true;
    for (const Kernel* kernel : ours->kernels()) {
      forward_ordered = ordered;  // except the last one, the weight gradients
      ordered = ordered && keeps_order(host, host.add(*kernel));
    }
    for (const auto& [key, values] : wanted->harness().memory()) {
      const bool gradient = std::get<0>(key) == codegen::BufferRole::param_gradient;
      if (gradient ? !ordered : !forward_ordered) continue;
      EXPECT_TRUE(same_bits(ours->harness().memory().at(key), values))
          << "role " << int(std::get<0>(key));
    }
    if (testing::Test::HasFailure()) return;
  }
}

class EveryOpInCuda : public ::testing::TestWithParam<std::string> {};

std::vector<CellCase> cells_of_op(const std::string& op) {
  std::vector<CellCase> cases;
  for (const OpCase& of : op_cases(ir::op(op))) {
    Random random(7);
    CellCase& made = cases.emplace_back();
    made.name = of.name();
    made.program = std::make_shared<ir::Program>(op_program(of));
    made.cell = &made.program->cells[0];
    for (int i = 0; i < 5; ++i) made.inputs.push_back(op_inputs(of, *made.program, random, i % 4));
    made.inputs = as_floats(made.inputs);
  }
  return cases;
}

TEST_P(EveryOpInCuda, AgreesWithDoubleAndTheInterpreter) { check_cells(cells_of_op(GetParam())); }

/// The text with values, variables and buffers renumbered in the order of their first appearance.
std::string renumbered(const std::string& text) {
  static const std::regex names(R"(\b([bfnv]|buffers\[)([0-9]+))");
  std::map<std::string, std::map<std::string, std::size_t>> numbers;
  std::string result;
  auto from = text.begin();
  for (std::sregex_iterator at(text.begin(), text.end(), names), end; at != end; ++at) {
    auto& of_kind = numbers[(*at)[1]];
    const std::size_t number = of_kind.emplace((*at)[2], of_kind.size()).first->second;
    result.append(from, (*at)[0].first).append((*at)[1]).append(std::to_string(number));
    from = (*at)[0].second;
  }
  return result.append(from, text.end());
}

/// All stages of the cells' kernels as one text, without those that differ only in names.
std::string stages_of(const std::vector<CellCase>& cases) {
  const Runner runner{codegen::cuda_target("sm_80"), interpreter().run};
  std::set<std::string> texts;
  for (const CellCase& of : cases) {
    Random random(1);
    const auto check = of.check(random, runner);
    for (const Kernel* kernel : check->kernels())
      for (const codegen::Stage& stage : kernel->stages) {
        Kernel alone = *kernel;
        alone.name.clear();
        alone.stages = {stage};
        texts.insert(renumbered(codegen::print_cuda_stages(alone, "@").source));
      }
  }
  std::string source(codegen::cuda_prelude());
  int number = 0;
  for (const std::string& text : texts)
    source += std::regex_replace(text, std::regex("@"), fmt::format("k{}_", number++));
  return source;
}

TEST_P(EveryOpInCuda, CompilesForGpus) {
  if (codegen::nvrtc_state().version.empty()) GTEST_SKIP() << codegen::nvrtc_state().problem;
  const std::string source = stages_of(cells_of_op(GetParam()));
  for (const char* gpu : {"sm_80", "sm_90"}) EXPECT_FALSE(cached_cubin(source, gpu).empty());
}

std::vector<std::string> op_names() {
  std::vector<std::string> names;
  for (const ir::Op& op : ir::ops())
    if (op.kind != ir::OpClass::leaf) names.emplace_back(op.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Table, EveryOpInCuda, ::testing::ValuesIn(op_names()),
                         [](const auto& info) { return info.param; });

std::vector<CellCase> cells_of(std::shared_ptr<const ir::Program> program, const std::string& name,
                               int index_bound, std::uint64_t seed) {
  std::vector<CellCase> cases;
  for (const ir::Cell& cell : program->cells) {
    Random random(seed);
    CellCase& made = cases.emplace_back(CellCase{name + ", " + cell.name, program, &cell, {}});
    for (int i = 0; i < 7; ++i)
      made.inputs.push_back(random_inputs(*program, cell, random, index_bound, i % 4));
    made.inputs = as_floats(made.inputs);
  }
  return cases;
}

TEST(CudaCells, RandomOnesAgreeWithDoubleAndTheInterpreter) {
  std::vector<CellCase> cases;
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    const RandomProgramOptions options{.width = 3 + int(seed % 5) * 4, .withheld_gradients = true};
    const auto program = std::make_shared<const ir::Program>(random_program(seed, options));
    std::ranges::move(cells_of(program, "seed " + std::to_string(seed), random_index_bound, seed),
                      std::back_inserter(cases));
  }
  check_cells(cases);
}

TEST(CudaCells, OfTheModelsAgreeWithDoubleAndTheInterpreter) {
  for (const models::ModelInfo& model : models::models()) {
    const auto made =
        model.make({.vocabulary = 11, .embed = 21, .hidden = 18, .classes = 5, .dropout = 0.3});
    const auto program = std::make_shared<const ir::Program>(made->program());
    check_cells(cells_of(program, std::string(model.name), 5, 1));
  }
}

}  // namespace
}  // namespace espalier::test
