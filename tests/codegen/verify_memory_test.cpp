// What verify_memory accepts and rejects, on kernels that copy elements from buffer to buffer.
#include "codegen/kernel/verify_memory.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/codegen/kernel_runner.h"

namespace espalier::codegen {
namespace {

/// A stage over `extent` elements of each row: y[row, first + j] := x[row, from + j].
Stage copy_stage(KernelBuilder& b, BufferId x, std::int64_t from, BufferId y, std::int64_t first,
                 std::int64_t extent) {
  Stage stage = instance_stage(b, {extent});
  const ExprId j = b.var(stage.variables[0]);
  const auto at = [&](BufferId buffer, std::int64_t begin) {
    const ExprId row =
        b.multiply(b.var(stage.row), b.kernel().buffers[std::size_t(buffer)].row_elements);
    return b.add(b.add(row, j), b.integer(begin));
  };
  stage.stores = {{y, at(y, first), b.load(x, at(x, from))}};
  return stage;
}

/// x [6] is read, s [10] lies within the batch, y [4] is the result.
struct Copies {
  Kernel kernel;
  KernelBuilder b{kernel};
  BufferId x = b.buffer({.role = BufferRole::state_field, .row_elements = 6});
  BufferId s = b.buffer({.role = BufferRole::scratch, .row_elements = 10});
  BufferId y = b.buffer({.role = BufferRole::own_field, .row_elements = 4});

  std::string refusal() {
    kernel.name = "copies";
    try {
      verify_memory(kernel);
    } catch (const InternalError& error) {
      return error.what();
    }
    return "";
  }
};

TEST(VerifyMemory, AcceptsWhatIsStoredBeforeItIsRead) {
  Copies c;
  c.kernel.stages = {copy_stage(c.b, c.x, 0, c.s, 1, 3), copy_stage(c.b, c.x, 3, c.s, 4, 3),
                     copy_stage(c.b, c.s, 2, c.y, 0, 4)};
  EXPECT_EQ(c.refusal(), "");
}

TEST(VerifyMemory, RejectsWhatIsReadBeforeItIsStored) {
  Copies c;
  c.kernel.stages = {copy_stage(c.b, c.x, 0, c.s, 1, 3), copy_stage(c.b, c.s, 2, c.y, 0, 4),
                     copy_stage(c.b, c.x, 3, c.s, 4, 3)};
  EXPECT_NE(c.refusal().find("element 4 of buffer 1, which no stage before has stored"),
            std::string::npos)
      << c.refusal();
}

TEST(VerifyMemory, RejectsWhatNobodyStores) {
  Copies c;
  c.kernel.stages = {copy_stage(c.b, c.s, 0, c.y, 0, 4)};
  EXPECT_NE(c.refusal().find("element 0 of buffer 1, which no stage before"), std::string::npos);
}

TEST(VerifyMemory, RejectsWhatTheSameStageStores) {
  Copies c;
  c.kernel.stages = {copy_stage(c.b, c.x, 0, c.s, 0, 6), copy_stage(c.b, c.s, 0, c.s, 2, 3)};
  EXPECT_NE(c.refusal().find("element 2 of buffer 1, which the stage stores"), std::string::npos)
      << c.refusal();
  c.kernel.stages.back() = copy_stage(c.b, c.s, 0, c.s, 6, 3);  // of other elements
  EXPECT_EQ(c.refusal(), "");
}

TEST(VerifyMemory, RejectsElementsBehindTheRow) {
  Copies c;
  c.kernel.stages = {copy_stage(c.b, c.x, 0, c.s, 8, 3)};
  EXPECT_NE(c.refusal().find("leaves its row of 10"), std::string::npos) << c.refusal();
}

TEST(VerifyMemory, RejectsAnElementStoredTwice) {
  Copies c;
  c.kernel.stages = {copy_stage(c.b, c.x, 0, c.s, 0, 3)};
  c.kernel.stages[0].stores.push_back(c.kernel.stages[0].stores[0]);
  EXPECT_NE(c.refusal().find("stored twice"), std::string::npos) << c.refusal();
}

TEST(VerifyMemory, RejectsRowsOfAnotherKind) {
  Copies c;
  c.s = c.b.buffer({.role = BufferRole::scratch, .a = 1, .row_elements = 10, .children = 2});
  c.kernel.stages = {copy_stage(c.b, c.x, 0, c.s, 0, 3)};
  EXPECT_NE(c.refusal().find("the buffer those of port 2"), std::string::npos) << c.refusal();
}

/// A contraction of `length` elements of each row of `x`, from `from` on, into s.
Stage contraction_stage(KernelBuilder& b, BufferId x, std::int64_t from, std::int64_t length,
                        BufferId s) {
  Stage stage = instance_stage(b, {10});
  const std::int64_t row = b.kernel().buffers[std::size_t(x)].row_elements;
  stage.contraction = Contraction{
      .weights = b.buffer({.role = BufferRole::packed}),
      .packing = 0,
      .terms = {{x, b.add(b.multiply(b.var(stage.row), row), b.integer(from)), 0, length}}};
  stage.stores = {{s, element(b, stage), b.accumulator(0)}};
  return stage;
}

TEST(VerifyMemory, FollowsTheTermsOfContractions) {
  const auto refusal = [](std::int64_t stored, std::int64_t from, bool own) {
    Copies c;
    const BufferId read = c.b.buffer({.role = BufferRole::scratch, .a = 1, .row_elements = 10});
    c.kernel.stages = {copy_stage(c.b, c.x, 0, own ? c.s : read, 0, stored),
                       contraction_stage(c.b, own ? c.s : read, from, 4, c.s)};
    return c.refusal();
  };
  EXPECT_EQ(refusal(6, 2, false), "");
  EXPECT_NE(refusal(6, 3, false).find("a term reads element 6 of buffer"), std::string::npos);
  EXPECT_NE(refusal(6, 7, false).find("leaves its row of 10 elements"), std::string::npos);
  EXPECT_NE(refusal(6, 0, true).find("which the stage stores"), std::string::npos);
}

}  // namespace
}  // namespace espalier::codegen
