// Texts of programs, and that they read back as what they were.
#include "ir/text/print.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ir/op.h"
#include "ir/passes/fuse_contractions.h"
#include "ir/passes/gradient.h"
#include "ir/passes/simplify.h"
#include "ir/text/parse.h"
#include "ir/verify.h"
#include "tests/support/golden.h"
#include "tests/support/op_cells.h"

namespace espalier::ir {
namespace {

Program model() {
  return parse(R"(program "child-sum model"
    param embed [100, 20] uniform(0.05)
    param u [24, 6] glorot
    param w [24, 20] glorot
    param b [24] constant(0)
    param "out/weights" [5, 6] glorot
    state State f32[6] f32[6]
    state "f32[]" f32[]
    cell node(word: index, hs: children State) -> State {
      %0 = param embed : f32[100, 20]
      %1 = port word : i32[]
      %2 = row(%0, %1) : f32[20]
      %3 = dropout(%2, rate=0.5) : f32[20]
      %4 = port hs.0 : f32[6]*hs
      %5 = port hs.1 : f32[6]*hs
      %6 = sum_children(%4) : f32[6]
      %7 = param w : f32[24, 20]
      %8 = param u : f32[24, 6]
      %9 = param b : f32[24]
      %10 = matmul(%7, %3) : f32[24]
      %11 = matmul(%8, %6) : f32[24]
      %12 = add(%10, %11) : f32[24]
      %13 = add(%12, %9) : f32[24]
      %14 = slice(%13, axis=0, begin=0) : f32[6]
      %15 = sigmoid(%14) : f32[6]
      %16 = slice(%13, axis=0, begin=6) : f32[6]
      %17 = sigmoid(%16) : f32[6]
      %18 = slice(%13, axis=0, begin=12) : f32[6]
      %19 = tanh(%18) : f32[6]
      %20 = slice(%10, axis=0, begin=18) : f32[6]
      %21 = slice(%8, axis=0, begin=18) : f32[6, 6]
      %22 = matmul(%21, %4) : f32[6]*hs
      %23 = add(%22, %20) : f32[6]*hs
      %24 = sigmoid(%23) : f32[6]*hs
      %25 = mul(%24, %5) : f32[6]*hs
      %26 = sum_children(%25) : f32[6]
      %27 = mul(%15, %19) : f32[6]
      %28 = add(%27, %26) : f32[6]
      %29 = tanh(%28) : f32[6]
      %30 = mul(%17, %29) : f32[6]
      return %30, %28
    }
    cell loss(s: child State, label: index) -> "f32[]" {
      %0 = param "out/weights" : f32[5, 6]
      %1 = port s.0 : f32[6]
      %2 = matmul(%0, %1) : f32[5]
      %3 = port label : i32[]
      %4 = cross_entropy(%2, %3) : f32[]
      return %4
    })");
}

TEST(Print, GoldenText) { test::expect_golden("tests/golden/ir/child_sum.txt", print(model())); }

TEST(Print, GoldenTextAfterPasses) {
  Program program = model();
  for (Cell& cell : program.cells) cell = simplify(fuse_contractions(cell));
  test::expect_golden("tests/golden/ir/child_sum_simplified.txt", print(program));
}

TEST(Print, ReadsBack) {
  Program program = model();
  EXPECT_TRUE(parse(print(program)) == program);
  for (Cell& cell : program.cells) cell = simplify(fuse_contractions(cell));
  EXPECT_TRUE(parse(print(program)) == program);
}

TEST(Print, ReadsBackForEveryOp) {
  for (const Op& op : ops())
    for (const test::OpCase& of : test::op_cases(op)) {
      const Program program = test::op_program(of);
      EXPECT_TRUE(parse(print(program)) == program) << print(program);
    }
}

TEST(Print, ReadsBackAnyName) {
  Program program;
  for (const char* name : {"plain", "_1", "1", "", "a b", "a\"b", "a\\b", "a\nb\tc\x01", "ümlaut",
                           "f32", "#x", "param", "%0"})
    program.params.push_back({name, {2}, Initializer::glorot()});
  program.name = "two words";
  EXPECT_TRUE(parse(print(program)) == program) << print(program);
}

TEST(Print, ReadsBackAnyNumber) {
  using Limits = std::numeric_limits<double>;
  Program program;
  program.name = "numbers";
  program.states = {{"S", {{DType::f32, {}, per_instance}}}};
  for (double number : {0.0, -0.0, 1.0, 0.1, 1.0 / 3, -1e-5, 1e22, 1e300, Limits::min(),
                        Limits::denorm_min(), Limits::max(), -Limits::max(), Limits::infinity(),
                        -Limits::infinity(), Limits::quiet_NaN()}) {
    Cell cell{fmt::format("c{}", program.cells.size()), {}, 0, {}, {}};
    GraphBuilder builder(GraphBuilder::Mode::record);
    cell.outputs = {builder.constant(number).id};
    cell.graph = builder.finish(cell.outputs);
    program.cells.push_back(cell);
    if (std::isfinite(number))
      program.params.push_back(
          {fmt::format("p{}", program.params.size()), {1}, Initializer::uniform(number)});
  }
  const Program again = parse(print(program));
  EXPECT_TRUE(again == program) << print(program) << print(again);
}

TEST(Print, OfADifferentiatedCell) {
  const Program program = parse(R"(program p param w [2, 2] glorot param b [2] glorot
    param e [9, 2] glorot state S f32[2]
    cell c(i: index, x: child S) -> S {
      %0 = param e : f32[9, 2]
      %1 = port i : i32[]
      %2 = row(%0, %1) : f32[2]
      %3 = port x.0 : f32[2]
      %4 = mul(%2, %3) : f32[2]
      %5 = param w : f32[2, 2]
      %6 = matmul(%5, %4) : f32[2]
      %7 = param b : f32[2]
      %8 = add(%6, %7) : f32[2]
      return %8 })");
  const Differentiated cell = differentiate(program, program.cells[0]);
  verify(cell, program);
  const std::string text = print(cell, program);
  for (const char* line :
       {"forward c(i: index, x: child S) -> S {\n", "  return %8\n}\n",
        "backward c(i: index, x: child S) -> S {\n", "cotangent(field=0) : f32[2]\n",
        "  port x.0 += %", "  param w += outer(%", "  param b += %", "  param e[i] += %"})
    EXPECT_NE(text.find(line), text.npos) << line << "\n" << text;
}

}  // namespace
}  // namespace espalier::ir
