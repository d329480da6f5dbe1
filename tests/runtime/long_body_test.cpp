// Cell bodies of 20,000 ops, compiled and run forward and backward: stages of bounded size, time
// linear in the ops.
#include <gtest/gtest.h>

#include <cmath>

#include "codegen/cpu/host_targets.h"
#include "codegen/kernel/lower.h"
#include "ir/passes/gradient.h"
#include "ir/passes/pipeline.h"
#include "ir/passes/simplify.h"
#include "ir/record/recorder.h"
#include "runtime/engine.h"
#include "tests/support/cells.h"
#include "tests/support/long_bodies.h"

namespace espalier::test {
namespace {

constexpr int kOps = 20000;
/// Of a processor: some ten times what it takes without checks.
constexpr double kSeconds = 240;

/// The engine against the body evaluated in double, one example.
void expect_equals_double(const ir::Program& program, double seconds) {
  const double start = processor_seconds();
  Engine engine(program, {.threads = 1});
  const Instances minibatch = engine.instances();
  minibatch.begin_example(0);
  const auto call = [&](int cell, std::vector<ir::CallId> operands, std::vector<std::int32_t> of) {
    return minibatch.recorder().call(cell, operands, of);
  };
  const ir::CallId leaf = call(0, {}, {3}), body = call(1, {leaf}, {}), loss = call(2, {body}, {});
  minibatch.recorder().loss(loss);
  const StepResult step = engine.gradients(minibatch);
  EXPECT_LT(processor_seconds() - start, seconds);

  Random random(1);
  CellInputs inputs = random_inputs(program, program.cells[1], random);
  inputs.params.clear();
  for (const ir::Param& param : program.params) {
    const auto values = engine.param(param.name);
    inputs.params.emplace_back(values.begin(), values.end());
  }
  const auto table = engine.param("table");
  inputs.ports.at({0, 0}) = {table.begin() + 12, table.begin() + 16};
  const ir::Cell cell = ir::simplify(program.cells[1]);
  double sum = 0;
  const auto wanted = outputs(cell, inputs);
  for (const double x : wanted[0]) sum += x;
  EXPECT_NEAR(step.loss, sum, 1e-4 * std::max(1.0, std::abs(sum)));
  const Gradients expected =
      backward(program, ir::differentiate(program, cell), inputs, {std::vector<double>(4, 1.0)});
  const auto close = [](const std::vector<float>& actual, std::size_t from,
                        const std::vector<double>& wanted, const std::string& name) {
    double scale = 1e-6;
    for (const double x : wanted) scale = std::max(scale, std::abs(x));
    for (std::size_t i = 0; i < wanted.size(); ++i)
      EXPECT_NEAR(actual[from + i], wanted[i], 2e-3 * scale) << name << " at " << i;
  };
  close(engine.gradient("table"), 12, expected.ports.at({0, 0}), "table");
  close(engine.gradient("w"), 0, expected.params[1], "w");
}

TEST(LongBody, ChainedTanh) { expect_equals_double(chained_tanh(kOps), kSeconds); }
TEST(LongBody, MixedOps) { expect_equals_double(mixed_ops(kOps), kSeconds); }
TEST(LongBody, ChainedSums) { expect_equals_double(chained_sums(kOps), kSeconds); }
/// Each product is a stage, and so is each sum: fewer of them.
TEST(LongBody, MixedKinds) { expect_equals_double(mixed_kinds(kOps / 20), kSeconds); }

/// What bounds the time of compilation, and the stack: no stage evaluates much.
TEST(LongBody, StagesAreOfBoundedSize) {
  for (const ir::Program& program : {chained_tanh(kOps), mixed_ops(kOps)}) {
    const ir::Cell& cell = program.cells[1];
    const auto d = ir::training_cells(program, cell);
    const codegen::Target target = codegen::host_target();
    for (const codegen::Kernel& kernel : {codegen::lower_forward(program, d.forward, target),
                                          codegen::lower_backward(cell, d.backward, target)}) {
      EXPECT_GT(kernel.stages.size(), 100u);
      // The deepest expression of what a stage evaluates, loads being leaves.
      std::vector<int> depth(kernel.exprs.size(), 0);
      for (std::size_t id = 0; id < kernel.exprs.size(); ++id)
        for (const codegen::ExprId operand : kernel.exprs[id].operands)
          if (operand >= 0) depth[id] = std::max(depth[id], depth[std::size_t(operand)] + 1);
      EXPECT_LT(*std::ranges::max_element(depth), 2000);
    }
  }
}

}  // namespace
}  // namespace espalier::test
