// Where kernels read views: ports, slices, reshapes, parts of joined values, which may also be
// copied to where results lie. Every cell here once gave wrong numbers, or was refused.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "codegen/kernel/lower.h"
#include "codegen/kernel/verify.h"
#include "ir/text/parse.h"
#include "tests/codegen/cell_check.h"

namespace espalier::test {
namespace {

/// A cell called c, with the states that its ports and its result have. Params are w and u.
struct View {
  std::string name, states, cell;
};

const std::vector<View>& views() {
  static const std::vector<View> all{
      {"ConcatOfAChildBesideAProductOfIt", "state R f32[3] f32[8]",
       "cell c(s: child S) -> R { %0 = port s.0 : f32[4] %1 = param w : f32[3, 4]"
       " %2 = matmul(%1, %0) : f32[3] %3 = concat(%0, %0, axis=0) : f32[8] return %2, %3 }"},
      {"SliceAddedToAProduct", "state B f32[8] state R f32[4]",
       "cell c(q: child S, r: child B) -> R { %0 = port q.0 : f32[4] %1 = port r.0 : f32[8]"
       " %2 = param u : f32[4, 4] %3 = matmul(%2, %0) : f32[4]"
       " %4 = slice(%1, axis=0, begin=0) : f32[4] %5 = add(%3, %4) : f32[4] return %5 }"},
      {"ConcatOfAChildAndAProductOfIt", "state R f32[7]",
       "cell c(s: child S) -> R { %0 = port s.0 : f32[4] %1 = param w : f32[3, 4]"
       " %2 = matmul(%1, %0) : f32[3] %3 = concat(%0, %2, axis=0) : f32[7] return %3 }"},
      {"ThreePartsOfWhichTwoAreProductsOfTheFirst", "state R f32[10]",
       "cell c(s: child S) -> R { %0 = port s.0 : f32[4] %1 = param w : f32[3, 4]"
       " %2 = matmul(%1, %0) : f32[3] %3 = tanh(%2) : f32[3]"
       " %4 = concat(%2, %0, %3, axis=0) : f32[10] return %4 }"},
      {"PartOfAConcatUnderTanhSumAndMax", "state R f32[7] f32[] f32[]",
       "cell c(s: child S) -> R { %0 = port s.0 : f32[4] %1 = param w : f32[3, 4]"
       " %2 = matmul(%1, %0) : f32[3] %3 = concat(%0, %2, axis=0) : f32[7] %4 = tanh(%3) : f32[7]"
       " %5 = sum(%3, axis=0) : f32[] %6 = max_over(%4, axis=0) : f32[] return %4, %5, %6 }"},
      {"SoftmaxAndLayerNormOfAConcat", "state R f32[7] f32[7]",
       "cell c(s: child S) -> R { %0 = port s.0 : f32[4] %1 = param w : f32[3, 4]"
       " %2 = matmul(%1, %0) : f32[3] %3 = concat(%0, %2, axis=0) : f32[7]"
       " %4 = softmax(%3) : f32[7] %5 = param gain : f32[7]"
       " %6 = layer_norm(%3, %5, %5) : f32[7] return %4, %6 }"},
      {"ConcatPerChild", "state R f32[7]",
       "cell c(s: children S) -> R { %0 = port s.0 : f32[4]*s %1 = param w : f32[3, 4]"
       " %2 = matmul(%1, %0) : f32[3]*s %3 = concat(%0, %2, axis=0) : f32[7]*s"
       " %4 = sum_children(%3) : f32[7] return %4 }"},
      {"ProductPerChildOfWhatInstancesShare", "state R f32[4]",
       "cell c(s: children S) -> R { %0 = param m : f32[1, 3] %1 = constant(value=0.5) : f32[1, 1]"
       " %2 = concat(%0, %1, axis=1) : f32[1, 4] %3 = port s.0 : f32[4]*s"
       " %4 = constant(value=2) : f32[4] %5 = outer(%3, %4) : f32[4, 4]*s"
       " %6 = matmul(%2, %5) : f32[1, 4]*s %7 = reshape(%6) : f32[4]*s"
       " %8 = sum_children(%7) : f32[4] return %8 }"},
      {"RowOfAReshapedValue", "state M f32[2, 2] state R f32[1] f32[1]",
       "cell c(x: child M, i: index) -> R { %0 = port x.0 : f32[2, 2] %1 = tanh(%0) : f32[2, 2]"
       " %2 = reshape(%1) : f32[4, 1] %3 = port i : i32[] %4 = row(%2, %3) : f32[1]"
       " %5 = transpose(%1) : f32[2, 2] %6 = reshape(%5) : f32[4, 1] %7 = row(%6, %3) : f32[1]"
       " return %4, %7 }"},
      {"ReshapeOfAPartThatLiesApart", "state M f32[2, 2] state R f32[3] f32[2, 4]",
       "cell c(x: child M, z: child M) -> R { %0 = port x.0 : f32[2, 2] %1 = port z.0 : f32[2, 2]"
       " %2 = tanh(%0) : f32[2, 2] %3 = reshape(%2) : f32[4] %4 = param w : f32[3, 4]"
       " %5 = matmul(%4, %3) : f32[3] %6 = neg(%1) : f32[2, 2]"
       " %7 = concat(%2, %6, axis=1) : f32[2, 4] return %5, %7 }"},
      {"ReshapeOfAJoinedPartOfAnother", "state M f32[2, 1] state R f32[3] f32[2, 3]",
       "cell c(x: child M, z: child M) -> R { %0 = port x.0 : f32[2, 1] %1 = port z.0 : f32[2, 1]"
       " %2 = tanh(%0) : f32[2, 1] %3 = concat(%2, %1, axis=1) : f32[2, 2]"
       " %4 = reshape(%3) : f32[4] %5 = param w : f32[3, 4] %6 = matmul(%5, %4) : f32[3]"
       " %7 = concat(%3, %2, axis=1) : f32[2, 3] return %6, %7 }"},
      {"ProductOfATransposeThatIsAResult", "state M f32[2, 2] state R f32[3] f32[2, 2] f32[2, 4]",
       "cell c(x: child M) -> R { %0 = port x.0 : f32[2, 2] %1 = transpose(%0) : f32[2, 2]"
       " %2 = reshape(%1) : f32[4] %3 = param w : f32[3, 4] %4 = matmul(%3, %2) : f32[3]"
       " %5 = concat(%1, %0, axis=1) : f32[2, 4] return %4, %1, %5 }"},
      {"ProductOfRowsOfTwoJoinedMatrices", "state M f32[1, 2] state R f32[3]",
       "cell c(x: child M, z: child M) -> R { %0 = port x.0 : f32[1, 2] %1 = port z.0 : f32[1, 2]"
       " %2 = concat(%0, %1, axis=0) : f32[2, 2] %3 = reshape(%2) : f32[4]"
       " %4 = param w : f32[3, 4] %5 = matmul(%4, %3) : f32[3] return %5 }"},
      {"ConcatOfAProductAndAPartOfIt", "state R f32[5]",
       "cell c(s: child S) -> R { %0 = port s.0 : f32[4] %1 = param w : f32[3, 4]"
       " %2 = matmul(%1, %0) : f32[3] %3 = slice(%2, axis=0, begin=0) : f32[2]"
       " %4 = concat(%2, %3, axis=0) : f32[5] return %4 }"},
      {"ConcatOfANegatedViewAndTheView", "state M f32[2, 4] state R f32[2] f32[8, 2]",
       "cell c(x: child M) -> R { %0 = port x.0 : f32[2, 4] %1 = transpose(%0) : f32[4, 2]"
       " %2 = neg(%1) : f32[4, 2] %3 = concat(%2, %1, axis=0) : f32[8, 2]"
       " %4 = sum(%3, axis=0) : f32[2] return %4, %3 }"},
      {"ResultsThatArePorts", "state R f32[4] f32[4] f32[8]",
       "cell c(s: child S, t: child S) -> R { %0 = port s.0 : f32[4] %1 = port t.0 : f32[4]"
       " %2 = concat(%0, %1, axis=0) : f32[8] return %0, %0, %2 }"}};
  return all;
}

ir::Program program_of(const View& view) {
  return ir::parse(
      "program p param w [3, 4] uniform(1) param u [4, 4] uniform(1) "
      "param gain [7] uniform(1) param m [1, 3] uniform(1) state S f32[4] " +
          view.states + "\n" + view.cell,
      view.name);
}

class Views : public ::testing::TestWithParam<View> {
 protected:
  static void check(const Runner& runner) {
    SCOPED_TRACE(runner.target.name);
    const ir::Program program = program_of(GetParam());
    Random random(5);
    std::vector<CellInputs> inputs;
    for (int i = 0; i < 5; ++i)
      inputs.push_back(random_inputs(program, program.cells[0], random, 3, i % 3));
    CellCheck(program, program.cells[0], as_floats(inputs), random, runner).run();
  }
};

TEST_P(Views, InterpretedAgreesWithDouble) { check(interpreter()); }

TEST_P(Views, CompiledAgreesWithDouble) {
  for (const Runner& runner : compiled_runners()) check(runner);
}

INSTANTIATE_TEST_SUITE_P(Cells, Views, ::testing::ValuesIn(views()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace espalier::test
