// Lowering: the kernels of cells, run by the interpreter and compiled for every target of this
// machine, against the cells evaluated in double: outputs, gradients of the children, weight
// gradients. One-op cells come from the op table, others are random.
#include "codegen/kernel/lower.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "codegen/compiler.h"
#include "codegen/kernel/verify.h"
#include "ir/text/parse.h"
#include "tests/codegen/cell_check.h"
#include "tests/support/op_cells.h"
#include "tests/support/random_programs.h"

namespace espalier::test {
namespace {

using codegen::Kernel;

class EveryOp : public ::testing::TestWithParam<std::string> {
 protected:
  static void check(const OpCase& of, const Runner& runner) {
    SCOPED_TRACE(of.name() + " on " + runner.target.name);
    Random random(7);
    const ir::Program program = op_program(of);
    std::vector<CellInputs> inputs;
    for (int i = 0; i < 5; ++i) inputs.push_back(op_inputs(of, program, random, i % 4));
    CellCheck(program, program.cells[0], as_floats(inputs), random, runner).run();
  }
};

TEST_P(EveryOp, InterpretedAgreesWithDouble) {
  for (const OpCase& of : op_cases(ir::op(GetParam()))) {
    check(of, interpreter());
    if (HasFailure()) return;
  }
}

TEST_P(EveryOp, CompiledAgreesWithDouble) {
  const std::vector<Runner> runners = compiled_runners();
  const std::vector<OpCase> cases = op_cases(ir::op(GetParam()));
  for (std::size_t i = 0; i < cases.size(); ++i) {
    // The widest target takes every case; the narrower ones take turns.
    check(cases[i], runners[0]);
    check(cases[i], runners[i % runners.size()]);
    if (HasFailure()) return;
  }
}

/// Element-wise bodies over their whole domain, within the error bound of their record.
TEST(ElementwiseOps, CompiledBodiesAreWithinTheirUlpBound) {
  const std::vector<Runner> runners = compiled_runners();
  for (const ir::Op& op : ir::ops()) {
    if (op.kind != ir::OpClass::elementwise) continue;
    OpCase of{&op, op.examples[0].operands, op.examples[0].attributes, {}};
    for (ir::Type& type : of.operands) type.shape = ir::Shape{67};
    of.sources.assign(of.operands.size(), OpCase::Source::child);
    const ir::Program program = op_program(of);
    for (const Runner& runner : runners) {
      Random random(3);
      std::vector<CellInputs> inputs;
      for (int i = 0; i < 40; ++i) {
        inputs.push_back(op_inputs(of, program, random, 0));
        for (std::size_t k = 0; k < of.operands.size(); ++k)
          inputs.back().ports.at({int(k) + 1, 0}) =
              random.reals(67, op.domain[k].low, op.domain[k].high);
      }
      inputs = as_floats(inputs);
      KernelHarness harness(program, program.cells[0], inputs, random);
      harness.run(codegen::lower_forward(program, program.cells[0], runner.target), runner.run);
      double worst = 0;
      for (int i = 0; i < harness.instances(); ++i) {
        const std::vector<float> actual = harness.output(i, 0);
        for (std::size_t e = 0; e < actual.size(); ++e) {
          double x[3] = {};
          for (std::size_t k = 0; k < of.operands.size(); ++k)
            x[k] = inputs[std::size_t(i)].ports.at({int(k) + 1, 0})[e];
          const double expected = op.evaluate(x);
          const double ulp = std::ldexp(1.0, std::max(-126, std::ilogb(expected)) - 23);
          worst = std::max(worst, std::abs(double(actual[e]) - expected) / ulp);
        }
      }
      EXPECT_LE(worst, op.ulp) << op.name << " on " << runner.target.name;
      RecordProperty(std::string(op.name) + "_" + runner.target.name, std::to_string(worst));
    }
  }
}

TEST(RandomCells, AgreeWithDouble) {
  std::vector<Runner> runners = compiled_runners();
  runners.push_back(interpreter());
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    const ir::Program program =
        random_program(seed, {.width = 3 + int(seed % 5) * 4, .withheld_gradients = true});
    for (const ir::Cell& cell : program.cells) {
      for (const Runner& runner : runners) {
        SCOPED_TRACE("seed " + std::to_string(seed) + ", " + cell.name + ", " + runner.target.name);
        Random random(seed);
        std::vector<CellInputs> inputs;
        for (int i = 0; i < 7; ++i)
          inputs.push_back(random_inputs(program, cell, random, random_index_bound, i % 4));
        CellCheck(program, cell, as_floats(inputs), random, runner).run();
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

/// Runs the program's first cell on seven instances by every runner, against the cell in double;
/// `look` sees each of its kernels first.
template <class Look>
void expect_right(const ir::Program& program, Look look) {
  std::vector<Runner> runners = compiled_runners();
  runners.push_back(interpreter());
  for (const Runner& runner : runners) {
    SCOPED_TRACE(runner.target.name);
    Random random(3);
    std::vector<CellInputs> inputs;
    for (int i = 0; i < 7; ++i)
      inputs.push_back(random_inputs(program, program.cells[0], random, 1, 0));
    CellCheck check(program, program.cells[0], as_floats(inputs), random, runner);
    for (const Kernel* kernel : check.kernels()) look(*kernel);
    check.run();
  }
}

/// Both parts lie where the concat's values do: the product reads a row that its stage stores into.
TEST(Concat, APartMayBeAProductOfAnother) {
  const ir::Program program = ir::parse(R"(program dense

param w [19, 33] glorot
param v [5, 52] glorot

state In f32[33]
state Out f32[5]

cell join(x: child In) -> Out {
  %0 = port x.0 : f32[33]
  %1 = tanh(%0) : f32[33]
  %2 = param w : f32[19, 33]
  %3 = matmul(%2, %1) : f32[19]
  %4 = concat(%1, %3, axis=0) : f32[52]
  %5 = tanh(%4) : f32[52]
  %6 = param v : f32[5, 52]
  %7 = matmul(%6, %5) : f32[5]
  return %7
}
)",
                                        "dense");
  expect_right(program, [](const Kernel& kernel) { codegen::verify_kernel(kernel); });
}

/// A right factor that all instances share is read where it lies: a transposed copy for each
/// instance would take k · n floats a row.
TEST(Transposed, SharedFactorsAreNotCopiedPerInstance) {
  const ir::Program program = ir::parse(R"(program matrices

param w [8, 40] glorot

state In f32[3, 8]
state Out f32[3, 40]

cell join(x: child In) -> Out {
  %0 = port x.0 : f32[3, 8]
  %1 = param w : f32[8, 40]
  %2 = matmul(%0, %1) : f32[3, 40]
  return %2
}
)",
                                        "matrices");
  expect_right(program, [](const Kernel& kernel) {
    for (const codegen::Buffer& buffer : kernel.buffers) {
      if (buffer.role != codegen::BufferRole::scratch) continue;
      EXPECT_LT(buffer.row_elements, 8 * 40);
    }
  });
}

std::vector<std::string> op_names() {
  std::vector<std::string> names;
  for (const ir::Op& op : ir::ops())
    if (op.kind != ir::OpClass::leaf) names.emplace_back(op.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Table, EveryOp, ::testing::ValuesIn(op_names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace espalier::test
