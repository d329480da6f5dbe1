// Gradients of cells chosen to be hard, against central differences.
#include <gtest/gtest.h>

#include "ir/passes/fuse_contractions.h"
#include "ir/text/parse.h"
#include "tests/support/cells.h"

namespace espalier::ir {
namespace {

using namespace espalier::test;

struct Case {
  std::string_view name;
  std::string_view text;
};

constexpr std::string_view declarations = R"(
program hard
param v [4] glorot
param u [4] glorot
param w [4, 4] glorot
param wide [4, 6] glorot
param tall [6, 4] glorot
param embed [3, 4] glorot
param forms [3, 4, 4] glorot
state S f32[4]
state Two f32[4] f32[4]
state Matrix f32[4, 4]
state Pair f32[4] f32[4, 4]
state Cube f32[2, 3, 4]
state Columns f32[6, 2]
state Scalar f32[]
)";

const Case cases[] = {
    {"OneValueIsTwoOutputs", R"(cell c(x: child S) -> Two {
  %0 = port x.0 : f32[4]
  %1 = exp(%0) : f32[4]
  return %1, %1
})"},
    {"APortIsAnOutput", R"(cell c(x: child Two) -> Two {
  %0 = port x.0 : f32[4]
  %1 = port x.1 : f32[4]
  %2 = mul(%0, %1) : f32[4]
  return %1, %2
})"},
    {"APortIsTwoOutputs", R"(cell c(x: child S) -> Two {
  %0 = port x.0 : f32[4]
  return %0, %0
})"},
    {"NoPorts", R"(cell c() -> S {
  %0 = param v : f32[4]
  %1 = tanh(%0) : f32[4]
  return %1
})"},
    {"AParamIsAnOutput", R"(cell c() -> Two {
  %0 = param v : f32[4]
  %1 = param w : f32[4, 4]
  %2 = matmul(%1, %0) : f32[4]
  return %0, %2
})"},
    {"AConstantIsAnOutput", R"(cell c(x: child S) -> Two {
  %0 = constant(value=3) : f32[4]
  %1 = port x.0 : f32[4]
  return %0, %1
})"},
    {"AnOutputFeedsAnother", R"(cell c(x: child S) -> Two {
  %0 = port x.0 : f32[4]
  %1 = param w : f32[4, 4]
  %2 = matmul(%1, %0) : f32[4]
  %3 = tanh(%2) : f32[4]
  %4 = sigmoid(%3) : f32[4]
  %5 = mul(%3, %4) : f32[4]
  return %3, %5
})"},
    {"AValueReadManyTimes", R"(cell c(x: child S) -> S {
  %0 = port x.0 : f32[4]
  %1 = mul(%0, %0) : f32[4]
  %2 = mul(%1, %0) : f32[4]
  %3 = sub(%2, %1) : f32[4]
  %4 = div(%3, %3) : f32[4]
  %5 = add(%3, %4) : f32[4]
  return %5
})"},
    {"SlicesOfSlices", R"(cell c(x: child Matrix) -> Scalar {
  %0 = port x.0 : f32[4, 4]
  %1 = exp(%0) : f32[4, 4]
  %2 = slice(%1, axis=0, begin=1) : f32[3, 4]
  %3 = slice(%2, axis=1, begin=1) : f32[3, 2]
  %4 = slice(%3, axis=0, begin=1) : f32[1, 2]
  %5 = reshape(%4) : f32[2]
  %6 = matmul(%5, %5) : f32[]
  return %6
})"},
    {"OverlappingSlices", R"(cell c(x: child S) -> Two {
  %0 = port x.0 : f32[4]
  %8 = param tall : f32[6, 4]
  %1 = matmul(%8, %0) : f32[6]
  %2 = slice(%1, axis=0, begin=0) : f32[4]
  %3 = slice(%1, axis=0, begin=2) : f32[4]
  %4 = slice(%1, axis=0, begin=1) : f32[4]
  %5 = mul(%2, %3) : f32[4]
  %6 = mul(%4, %4) : f32[4]
  return %5, %6
})"},
    {"SlicesOfAParamOverlapAndCross", R"(cell c(x: child S) -> Two {
  %0 = port x.0 : f32[4]
  %1 = param tall : f32[6, 4]
  %2 = slice(%1, axis=0, begin=0) : f32[4, 4]
  %3 = slice(%1, axis=0, begin=2) : f32[4, 4]
  %4 = slice(%1, axis=1, begin=1) : f32[6, 2]
  %5 = slice(%4, axis=0, begin=1) : f32[4, 2]
  %6 = slice(%0, axis=0, begin=2) : f32[2]
  %7 = matmul(%2, %0) : f32[4]
  %8 = matmul(%3, %0) : f32[4]
  %9 = matmul(%5, %6) : f32[4]
  %10 = mul(%7, %8) : f32[4]
  return %10, %9
})"},
    {"SlicesThatLeaveGaps", R"(cell c(x: child S) -> S {
  %0 = port x.0 : f32[4]
  %1 = softmax(%0) : f32[4]
  %2 = slice(%1, axis=0, begin=1) : f32[1]
  %3 = slice(%1, axis=0, begin=3) : f32[1]
  %4 = mul(%2, %3) : f32[1]
  %5 = concat(%4, %2, %3, %4, axis=0) : f32[4]
  return %5
})"},
    {"RowsOfAComputedMatrix", R"(cell c(i: index, x: child Pair) -> Two {
  %0 = port i : i32[]
  %1 = port x.0 : f32[4]
  %2 = port x.1 : f32[4, 4]
  %3 = outer(%1, %1) : f32[4, 4]
  %4 = matmul(%3, %2) : f32[4, 4]
  %5 = row(%4, %0) : f32[4]
  %6 = row(%2, %0) : f32[4]
  %7 = row(%5, %0) : f32[]
  %8 = mul(%6, %7) : f32[4]
  return %5, %8
})"},
    {"BroadcastsAlongEveryAxis", R"(cell c(x: child Two, m: child Matrix, i: index) -> Cube {
  %0 = port x.0 : f32[4]
  %1 = slice(%0, axis=0, begin=0) : f32[3]
  %2 = reshape(%1) : f32[3, 1]
  %3 = slice(%0, axis=0, begin=1) : f32[2]
  %4 = reshape(%3) : f32[2, 1, 1]
  %5 = mul(%2, %0) : f32[3, 4]
  %6 = mul(%4, %5) : f32[2, 3, 4]
  %7 = port m.0 : f32[4, 4]
  %9 = port i : i32[]
  %8 = row(%7, %9) : f32[4]
  %10 = mul(%6, %8) : f32[2, 3, 4]
  return %10
})"},
    {"ReductionsOfThreeAxes", R"(cell c(x: child Cube) -> Two {
  %0 = port x.0 : f32[2, 3, 4]
  %1 = exp(%0) : f32[2, 3, 4]
  %2 = sum(%1, axis=1) : f32[2, 4]
  %3 = max_over(%2, axis=0) : f32[4]
  %4 = max_over(%1, axis=1) : f32[2, 4]
  %5 = mean(%4, axis=0) : f32[4]
  return %3, %5
})"},
    {"SeveralChildrenPorts", R"(cell c(a: children S, x: child S, b: children Two) -> Two {
  %0 = port a.0 : f32[4]*a
  %1 = port b.0 : f32[4]*b
  %2 = port b.1 : f32[4]*b
  %3 = port x.0 : f32[4]
  %4 = mul(%0, %3) : f32[4]*a
  %5 = sum_children(%4) : f32[4]
  %6 = mul(%1, %5) : f32[4]*b
  %7 = sigmoid(%6) : f32[4]*b
  %8 = mul(%7, %2) : f32[4]*b
  %9 = sum_children(%8) : f32[4]
  %10 = mean_children(%0) : f32[4]
  %11 = mul(%10, %3) : f32[4]
  return %9, %11
})"},
    {"ChildSumGates", R"(cell c(word: index, hs: children Two) -> Two {
  %0 = port word : i32[]
  %1 = param embed : f32[3, 4]
  %2 = row(%1, %0) : f32[4]
  %3 = port hs.0 : f32[4]*hs
  %4 = port hs.1 : f32[4]*hs
  %5 = param w : f32[4, 4]
  %6 = matmul(%5, %3) : f32[4]*hs
  %7 = matmul(%5, %2) : f32[4]
  %8 = add(%6, %7) : f32[4]*hs
  %9 = param v : f32[4]
  %10 = add(%8, %9) : f32[4]*hs
  %11 = sigmoid(%10) : f32[4]*hs
  %12 = mul(%11, %4) : f32[4]*hs
  %13 = sum_children(%12) : f32[4]
  %14 = sum_children(%3) : f32[4]
  return %13, %14
})"},
    {"AttentionOverChildren", R"(cell c(q: child S, hs: children Two) -> S {
  %0 = port q.0 : f32[4]
  %1 = port hs.0 : f32[4]*hs
  %2 = port hs.1 : f32[4]*hs
  %3 = param w : f32[4, 4]
  %4 = matmul(%3, %0) : f32[4]
  %5 = matmul(%1, %4) : f32[]*hs
  %6 = softmax_children(%5) : f32[]*hs
  %7 = mul(%6, %2) : f32[4]*hs
  %8 = sum_children(%7) : f32[4]
  return %8
})"},
    {"ATransposedParamReadOncePerInstanceAndOncePerChild",
     R"(cell c(x: child S, hs: children S) -> Two {
  %0 = param w : f32[4, 4]
  %1 = transpose(%0) : f32[4, 4]
  %2 = port x.0 : f32[4]
  %3 = port hs.0 : f32[4]*hs
  %4 = matmul(%1, %2) : f32[4]
  %5 = matmul(%1, %3) : f32[4]*hs
  %6 = sum_children(%5) : f32[4]
  return %4, %6
})"},
    {"ASlicedParamReadOncePerInstanceAndOncePerChild",
     R"(cell c(x: child S, hs: children S) -> Two {
  %0 = param tall : f32[6, 4]
  %1 = slice(%0, axis=0, begin=0) : f32[4, 4]
  %2 = slice(%0, axis=0, begin=2) : f32[4, 4]
  %3 = port x.0 : f32[4]
  %4 = port hs.0 : f32[4]*hs
  %5 = matmul(%1, %3) : f32[4]
  %6 = matmul(%1, %4) : f32[4]*hs
  %7 = matmul(%2, %4) : f32[4]*hs
  %8 = mul(%6, %7) : f32[4]*hs
  %9 = sum_children(%8) : f32[4]
  return %5, %9
})"},
    {"AParamVectorMeetsChildren", R"(cell c(hs: children Pair) -> Two {
  %0 = param v : f32[4]
  %1 = port hs.1 : f32[4, 4]*hs
  %2 = matmul(%1, %0) : f32[4]*hs
  %3 = port hs.0 : f32[4]*hs
  %4 = outer(%3, %0) : f32[4, 4]*hs
  %5 = matmul(%4, %2) : f32[4]*hs
  %6 = sum_children(%5) : f32[4]
  %7 = mul(%3, %0) : f32[4]*hs
  %8 = max_children(%7) : f32[4]
  return %6, %8
})"},
    {"ParamTimesParamMeetsChildren", R"(cell c(hs: children S) -> S {
  %0 = param v : f32[4]
  %1 = param w : f32[4, 4]
  %2 = matmul(%1, %0) : f32[4]
  %3 = port hs.0 : f32[4]*hs
  %4 = mul(%2, %3) : f32[4]*hs
  %5 = sum_children(%4) : f32[4]
  return %5
})"},
    {"EqualChildrenShareTheGradientOfTheLargest", R"(cell c(hs: children S) -> Two {
  %0 = param v : f32[4]
  %1 = per_child(%0, port=hs) : f32[4]*hs
  %2 = max_children(%1) : f32[4]
  %3 = concat(%0, %0, axis=0) : f32[8]
  %4 = reshape(%3) : f32[2, 4]
  %5 = max_over(%4, axis=0) : f32[4]
  return %5, %0
})"},
    {"ParamsThroughMovements", R"(cell c(x: child S) -> Two {
  %0 = param wide : f32[4, 6]
  %1 = param tall : f32[6, 4]
  %2 = transpose(%1) : f32[4, 6]
  %3 = concat(%0, %2, axis=0) : f32[8, 6]
  %4 = reshape(%3) : f32[12, 4]
  %5 = slice(%4, axis=0, begin=3) : f32[4, 4]
  %6 = port x.0 : f32[4]
  %7 = matmul(%5, %6) : f32[4]
  %8 = slice(%4, axis=0, begin=5) : f32[4, 4]
  %9 = transpose(%8) : f32[4, 4]
  %10 = matmul(%9, %6) : f32[4]
  return %7, %10
})"},
    {"ConcatenatedParams", R"(cell c(x: child S, y: child S) -> S {
  %0 = param w : f32[4, 4]
  %1 = param wide : f32[4, 6]
  %2 = concat(%0, %1, axis=1) : f32[4, 10]
  %3 = port x.0 : f32[4]
  %4 = port y.0 : f32[4]
  %5 = slice(%4, axis=0, begin=1) : f32[2]
  %6 = concat(%3, %4, %5, axis=0) : f32[10]
  %7 = matmul(%2, %6) : f32[4]
  %8 = matmul(%0, %7) : f32[4]
  return %8
})"},
    {"EmbeddingsOfEveryRank", R"(cell c(i: index, j: index) -> Two {
  %0 = port i : i32[]
  %1 = port j : i32[]
  %2 = param embed : f32[3, 4]
  %3 = row(%2, %0) : f32[4]
  %4 = row(%2, %1) : f32[4]
  %5 = param forms : f32[3, 4, 4]
  %6 = row(%5, %0) : f32[4, 4]
  %7 = matmul(%6, %4) : f32[4]
  %8 = param v : f32[4]
  %9 = row(%8, %1) : f32[]
  %10 = mul(%3, %9) : f32[4]
  return %7, %10
})"},
    {"AMovedEmbedding", R"(cell c(i: index) -> Two {
  %0 = port i : i32[]
  %1 = param embed : f32[3, 4]
  %2 = mul(%1, %1) : f32[3, 4]
  %3 = row(%2, %0) : f32[4]
  %4 = param tall : f32[6, 4]
  %5 = slice(%4, axis=0, begin=2) : f32[4, 4]
  %6 = row(%5, %0) : f32[4]
  return %3, %6
})"},
    {"MatricesOfWords", R"(cell c(l: child Pair, r: child Pair) -> Pair {
  %0 = port l.0 : f32[4]
  %1 = port l.1 : f32[4, 4]
  %2 = port r.0 : f32[4]
  %3 = port r.1 : f32[4, 4]
  %4 = matmul(%3, %0) : f32[4]
  %5 = matmul(%1, %2) : f32[4]
  %6 = param tall : f32[6, 4]
  %7 = matmul(%6, %4) : f32[6]
  %8 = slice(%7, axis=0, begin=1) : f32[4]
  %9 = add(%8, %5) : f32[4]
  %10 = tanh(%9) : f32[4]
  %11 = param w : f32[4, 4]
  %12 = matmul(%11, %1) : f32[4, 4]
  %13 = matmul(%3, %12) : f32[4, 4]
  return %10, %13
})"},
    {"TensorLayer", R"(cell c(x: child S, y: child S, hs: children S) -> Two {
  %0 = param forms : f32[3, 4, 4]
  %1 = port x.0 : f32[4]
  %2 = port y.0 : f32[4]
  %3 = bilinear(%0, %1, %2) : f32[3]
  %4 = port hs.0 : f32[4]*hs
  %5 = bilinear(%0, %4, %2) : f32[3]*hs
  %6 = sum_children(%5) : f32[3]
  %7 = slice(%1, axis=0, begin=0) : f32[1]
  %8 = concat(%3, %7, axis=0) : f32[4]
  %9 = concat(%7, %6, axis=0) : f32[4]
  return %8, %9
})"},
    {"WeightsMeetColumns", R"(cell c(x: child Columns, hs: children Columns) -> Columns {
  %0 = port x.0 : f32[6, 2]
  %1 = param wide : f32[4, 6]
  %2 = matmul(%1, %0) : f32[4, 2]
  %3 = param tall : f32[6, 4]
  %4 = matmul(%3, %2) : f32[6, 2]
  %5 = port hs.0 : f32[6, 2]*hs
  %6 = transpose(%3) : f32[4, 6]
  %7 = matmul(%6, %5) : f32[4, 2]*hs
  %8 = matmul(%3, %7) : f32[6, 2]*hs
  %9 = sum_children(%8) : f32[6, 2]
  %10 = add(%4, %9) : f32[6, 2]
  return %10
})"},
    {"AReshapedTable", R"(cell c(i: index) -> S {
  %0 = param wide : f32[4, 6]
  %1 = reshape(%0) : f32[12, 2]
  %2 = port i : i32[]
  %3 = row(%1, %2) : f32[2]
  %4 = concat(%3, %3, axis=0) : f32[4]
  %5 = tanh(%4) : f32[4]
  return %5
})"},
    {"DropoutTwice", R"(cell c(x: child S) -> S {
  %0 = port x.0 : f32[4]
  %1 = dropout(%0, rate=0.3) : f32[4]
  %2 = tanh(%1) : f32[4]
  %3 = dropout(%2, rate=0.5) : f32[4]
  return %3
})"},
    {"ALoss", R"(cell c(x: child S, label: index) -> Scalar {
  %0 = port x.0 : f32[4]
  %1 = param w : f32[4, 4]
  %2 = param v : f32[4]
  %3 = layer_norm(%0, %2, %2) : f32[4]
  %4 = matmul(%1, %3) : f32[4]
  %5 = port label : i32[]
  %6 = cross_entropy(%4, %5) : f32[]
  return %6
})"},
};

class HardCell : public testing::TestWithParam<Case> {};

INSTANTIATE_TEST_SUITE_P(Gradient, HardCell, testing::ValuesIn(cases),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(HardCell, GradientsAreCentralDifferences) {
  const Program program =
      parse(std::string(declarations) + std::string(GetParam().text), GetParam().name);
  const Cell& cell = program.cells[0];
  Random random(5);
  for (int children : {0, 1, 3}) {
    const CellInputs inputs = random_inputs(program, cell, random, 3, children, 2);
    check_gradients(program, cell, inputs, random);
    check_gradients(program, fuse_contractions(cell), inputs, random);
  }
}

}  // namespace
}  // namespace espalier::ir
