// The interpreter against results worked out by hand: it is the oracle of everything else here.
#include "codegen/kernel/interpreter.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/codegen/kernel_runner.h"

namespace espalier::codegen {
namespace {

using Floats = std::vector<float>;

Floats interpret_all(const Kernel& kernel, const Memory& memory, BufferId result,
                     std::int64_t row_begin, std::int64_t row_end, bool fma = true) {
  const auto pointers = memory.pointers();
  for (std::size_t i = 0; i < kernel.stages.size(); ++i)
    interpret(kernel, static_cast<int>(i), pointers.data(), row_begin, row_end, {.fma = fma});
  const auto floats = memory.floats(result);
  return {floats.begin(), floats.end()};
}

TEST(Interpreter, RunsTheRowsItIsTold) {
  Kernel kernel;
  KernelBuilder b(kernel);
  const BufferId x = b.buffer({.role = BufferRole::scratch, .row_elements = 2});
  Stage s = instance_stage(b, {2});
  const int operands[] = {b.load(x, element(b, s)), b.to_float(b.var(s.variables[0]))};
  s.stores = {{x, element(b, s), b.emit(ir::Opcode::add, operands, 0)}};
  kernel.stages = {s};
  Memory memory;
  memory.add_floats(Floats{1, 2, 3, 4, 5, 6});
  EXPECT_EQ(interpret_all(kernel, memory, x, 1, 2), (Floats{1, 2, 3, 5, 5, 6}));
}

TEST(Interpreter, ReducesInOrderFromTheIdentity) {
  for (Reduction reduction : {Reduction::sum, Reduction::max, Reduction::fma}) {
    Kernel kernel;
    KernelBuilder b(kernel);
    const BufferId y = b.buffer({.role = BufferRole::scratch, .a = 0, .row_elements = 1});
    const BufferId x = b.buffer({.role = BufferRole::scratch, .a = 1, .row_elements = 1});
    const BufferId ends = b.buffer({.role = BufferRole::port_offsets});
    Stage s = instance_stage(b, {});
    const VarId i = b.variable();
    const ExprId load = b.load(x, b.var(i)), row = b.var(s.row);
    s.stores = {{y, row,
                 b.reduce(reduction, i, b.load_index(ends, row),
                          b.load_index(ends, b.add(row, b.integer(1))), load,
                          reduction == Reduction::fma ? load : -1)}};
    kernel.stages = {s};
    Memory memory;
    memory.add_floats(Floats{9, 9});
    memory.add_floats(Floats{0x1p30F, 1, -0x1p30F, -4});
    memory.add_integers(std::vector<std::int32_t>{0, 0, 4});
    const float lowest = std::numeric_limits<float>::lowest();
    const Floats wanted = reduction == Reduction::sum   ? Floats{0, -4}
                          : reduction == Reduction::max ? Floats{lowest, 0x1p30F}
                                                        : Floats{0, 0x1p61F};
    EXPECT_EQ(interpret_all(kernel, memory, y, 0, 2), wanted);
  }
}

TEST(Interpreter, AddsTheSumsOfBlocksInOrder) {
  Kernel kernel;
  KernelBuilder b(kernel);
  const BufferId y = b.buffer({.role = BufferRole::scratch, .a = 0, .row_elements = 1});
  const BufferId x = b.buffer({.role = BufferRole::scratch, .a = 1, .row_elements = 1});
  Stage s = instance_stage(b, {});
  const VarId i = b.variable();
  s.stores = {
      {y, b.var(s.row),
       b.reduce(Reduction::sum, i, b.integer(1), b.integer(6), b.load(x, b.var(i)), -1, 2)}};
  kernel.stages = {s};
  Memory memory;
  memory.add_floats(Floats{9});
  // 2^24 swallows a 1 and keeps a 2: one after another the five are 2^24 + 2.
  memory.add_floats(Floats{9, 0x1p24F, 2, 1, 1, 1});
  EXPECT_EQ(interpret_all(kernel, memory, y, 0, 1), (Floats{0x1p24F + 4}));
}

TEST(Interpreter, FmaIsOneRoundingOrTwo) {
  Kernel kernel;
  KernelBuilder b(kernel);
  const BufferId y = b.buffer({.role = BufferRole::scratch, .a = 0, .row_elements = 1});
  const BufferId x = b.buffer({.role = BufferRole::scratch, .a = 1, .row_elements = 1});
  const BufferId z = b.buffer({.role = BufferRole::scratch, .a = 2, .row_elements = 1});
  Stage s = instance_stage(b, {});
  const VarId i = b.variable();
  s.stores = {{y, b.var(s.row),
               b.reduce(Reduction::fma, i, b.integer(0), b.integer(2), b.load(x, b.var(i)),
                        b.load(z, b.var(i)))}};
  kernel.stages = {s};
  const float a = 1 + 0x1p-12F;
  for (bool fma : {false, true}) {
    Memory memory;
    memory.add_floats(Floats{9});
    memory.add_floats(Floats{-1, a});
    memory.add_floats(Floats{1, a});
    EXPECT_EQ(interpret_all(kernel, memory, y, 0, 1, fma)[0], fma ? 0x1p-11F + 0x1p-24F : 0x1p-11F);
  }
}

TEST(Interpreter, ReadsPackedWeightsByTheFormula) {
  // 3 gates of length 3 on 2 lanes: panel 1 holds one lane of each gate.
  Kernel kernel;
  KernelBuilder b(kernel);
  kernel.packings.push_back({.m = 9, .k = 2, .gates = 3, .lanes = 2, .blocks = {}});
  const BufferId w = b.buffer({.role = BufferRole::packed, .a = 0});
  const BufferId x = b.buffer({.role = BufferRole::state_field, .row_elements = 2});
  const BufferId y = b.buffer({.role = BufferRole::own_field, .row_elements = 9});
  Stage s = instance_stage(b, {3});
  s.contraction =
      Contraction{.weights = w, .packing = 0, .terms = {{x, b.multiply(b.var(s.row), 2), 0, 2}}};
  for (int gate = 0; gate < 3; ++gate)
    s.stores.push_back({y, b.add(b.integer(3 * gate), b.var(s.variables[0])), b.accumulator(gate)});
  kernel.stages = {s};
  // The weight of gate g, element j, column k is 100 g + 10 j + k.
  Floats packed(24);
  for (int g = 0; g < 3; ++g)
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 2; ++k)
        packed[((j / 2 * 2 + k) * 3 + g) * 2 + j % 2] = static_cast<float>(100 * g + 10 * j + k);
  Memory memory;
  memory.add_floats(packed, true);
  memory.add_floats(Floats{1, 1000});
  memory.add_floats(Floats(9));
  const Floats y_values = interpret_all(kernel, memory, y, 0, 1);
  for (int g = 0; g < 3; ++g)
    for (int j = 0; j < 3; ++j) {
      const int first = 100 * g + 10 * j;
      EXPECT_EQ(y_values[3 * g + j], static_cast<float>(first + 1000 * (first + 1)));
    }
}

TEST(RandomUniform, IsUniform) {
  constexpr int n = 1 << 16;
  double sum = 0, squares = 0, neighbours = 0;
  float last = 0;
  std::mt19937_64 keys(1);
  std::uint64_t key = 0;
  for (int i = 0; i < n; ++i) {
    if (i % 256 == 0) key = keys();
    const float x = random_uniform(key, 3, i % 256);
    ASSERT_GE(x, 0);
    ASSERT_LT(x, 1);
    sum += x;
    squares += double{x} * x;
    neighbours += double{x} * last;
    last = x;
  }
  // Within five standard deviations.
  EXPECT_NEAR(sum / n, 0.5, 5 * 0.289 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 1.0 / 3, 5 * 0.298 / std::sqrt(n));
  EXPECT_NEAR(neighbours / n, 0.25, 5 * 0.22 / std::sqrt(n));
}

}  // namespace
}  // namespace espalier::codegen
