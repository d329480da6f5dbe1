// Emission of reductions: a loop with one accumulator, or one for each lane and then a tree.
#include <llvm/IR/Constants.h>

#include <limits>

#include "codegen/cpu/emitter.h"
#include "codegen/kernel/tiling.h"

namespace espalier::codegen {

Value* Emitter::identity(Reduction reduction, int width) {
  const double number = reduction == Reduction::max ? std::numeric_limits<float>::lowest() : 0.0;
  llvm::Type* type = floats(width);
  if (reduction == Reduction::wide_sum) type = type->getWithNewType(b_.getDoubleTy());
  return llvm::ConstantFP::get(type, number);
}

Value* Emitter::combine(Reduction reduction, Value* a, Value* b) {
  if (reduction == Reduction::max) return b_.CreateSelect(b_.CreateFCmpOLT(a, b), b, a);
  return b_.CreateFAdd(a, b);
}

Value* Emitter::reduce_step(const Expr& expr, Value* accumulator) {
  const int width = width_of(accumulator);
  Value* body = spread(value(expr.operands[2]), width);
  if (expr.reduction == Reduction::wide_sum) body = b_.CreateFPExt(body, accumulator->getType());
  if (expr.reduction == Reduction::fma)
    return emit_fma(b_, target_, body, spread(value(expr.operands[3]), width), accumulator);
  return combine(expr.reduction, accumulator, body);
}

/// What is stored of an accumulator.
Value* Emitter::narrow(Value* sum) {
  llvm::Type* type = sum->getType()->getWithNewType(b_.getFloatTy());
  return sum->getType() == type ? sum : b_.CreateFPTrunc(sum, type);
}

Value* Emitter::reduce(ExprId id) {
  const Expr& expr = kernel_[id];
  if (stage_.vector_reduce && lanes_.variable < 0) return reduce_over_lanes(expr);
  const auto variable = static_cast<VarId>(expr.integer);
  Value *begin = value(expr.operands[0]), *end = value(expr.operands[1]);
  hoist(reduced(expr));
  const int width = in_lanes(id) ? lanes_.width : 1;
  const auto chain = [&](Value* first, Value* last) {
    return loop(first, last, 1, {identity(expr.reduction, width)},
                [&](Value* index, std::span<Value* const> sum) -> std::vector<Value*> {
                  bind(variable, index);
                  return {reduce_step(expr, sum[0])};
                })[0];
  };
  if (expr.block == 0) return narrow(chain(begin, end));
  return loop(begin, end, expr.block, {identity(expr.reduction, width)},
              [&](Value* first, std::span<Value* const> sum) -> std::vector<Value*> {
                Value* last = least(b_.CreateAdd(first, i64(expr.block)), end);
                return {b_.CreateFAdd(sum[0], chain(first, last))};
              })[0];
}

/// One accumulator a lane, then a tree over the lanes: a fixed order for a number of elements.
Value* Emitter::reduce_over_lanes(const Expr& expr) {
  const auto variable = static_cast<VarId>(expr.integer);
  Value *begin = value(expr.operands[0]), *end = value(expr.operands[1]);
  Value* count = b_.CreateSub(end, begin);
  const auto* known = llvm::dyn_cast<llvm::ConstantInt>(count);
  const std::int64_t elements = known ? std::max<std::int64_t>(known->getSExtValue(), 0) : -1;
  if (elements == 0) return narrow(identity(expr.reduction, 1));
  const int width = known ? vector_width(target_, elements) : target_.width;
  hoist(reduced(expr));

  const auto step = [&](Value* index, Value* sum, Value* mask) {
    set_lanes(variable, width, index, mask);
    Value* next = reduce_step(expr, sum);
    return mask ? b_.CreateSelect(mask, next, sum) : next;
  };
  // Whole vectors, then a rest, which is a loop of at most one turn.
  Value* rest = b_.CreateURem(count, i64(width));
  Value* middle = b_.CreateSub(end, rest);
  Value* sum = identity(expr.reduction, width);
  sum = loop(begin, middle, width, {sum}, [&](Value* index, auto sums) -> std::vector<Value*> {
    return {step(index, sums[0], nullptr)};
  })[0];
  sum = loop(middle, end, width, {sum}, [&](Value* index, auto sums) -> std::vector<Value*> {
    return {step(index, sums[0], first_lanes(rest, width))};
  })[0];

  for (int half = width / 2; half >= 1; half /= 2) {
    std::vector<int> low, high;
    for (int i = 0; i < half; ++i) {
      low.push_back(i);
      high.push_back(half + i);
    }
    sum = combine(expr.reduction, b_.CreateShuffleVector(sum, low),
                  b_.CreateShuffleVector(sum, high));
  }
  return narrow(width == 1 ? sum : b_.CreateExtractElement(sum, std::uint64_t{0}));
}

}  // namespace espalier::codegen
