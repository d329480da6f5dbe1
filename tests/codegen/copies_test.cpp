#include "codegen/kernel/copies.h"

#include <gtest/gtest.h>

#include "codegen/cpu/host_targets.h"
#include "codegen/kernel/lower.h"
#include "ir/text/parse.h"

namespace espalier::codegen {
namespace {

std::int64_t copied(const std::string& body) {
  const ir::Program program = ir::parse(
      "program test param w [6, 8] glorot state S f32[4] state R f32[8] state T f32[6]\n" + body);
  const ir::Cell& cell = program.cells[0];
  const Kernel kernel = lower_forward(program, cell, host_target());
  std::int64_t floats = 0;
  for (const Stage& stage : kernel.stages) floats += copied_floats(kernel, stage);
  return floats;
}

TEST(Copies, AConcatThatIsAResultIsCopied) {
  EXPECT_EQ(copied("cell c(x: child S, y: child S) -> R { %0 = port x.0 : f32[4]\n"
                   "%1 = port y.0 : f32[4] %2 = concat(%0, %1, axis=0) : f32[8] return %2 }"),
            8);
}

TEST(Copies, AConcatThatAContractionReadsIsNot) {
  EXPECT_EQ(copied("cell c(x: child S, y: child S) -> T { %0 = port x.0 : f32[4]\n"
                   "%1 = port y.0 : f32[4] %2 = concat(%0, %1, axis=0) : f32[8]\n"
                   "%3 = param w : f32[6, 8] %4 = matmul(%3, %2) : f32[6] return %4 }"),
            0);
}

TEST(Copies, WhatIsComputedIsNot) {
  EXPECT_EQ(copied("cell c(x: child S) -> S { %0 = port x.0 : f32[4] %1 = tanh(%0) : f32[4]\n"
                   "return %1 }"),
            0);
}

}  // namespace
}  // namespace espalier::codegen
