// Emission of expressions: scalars, vectors of lanes, loads.
#include <llvm/IR/Constants.h>
#include <llvm/IR/Function.h>
#include <llvm/IR/Intrinsics.h>
#include <llvm/IR/Module.h>

#include <limits>

#include "base/error.h"
#include "codegen/cpu/emitter.h"

namespace espalier::codegen {

using llvm::FixedVectorType;
using llvm::Type;

namespace {

Type* type_of_width(Type* element, int width) {
  return width == 1 ? element : static_cast<Type*>(FixedVectorType::get(element, width));
}

}  // namespace

int width_of(Value* x) {
  const auto* type = llvm::dyn_cast<FixedVectorType>(x->getType());
  return type ? static_cast<int>(type->getNumElements()) : 1;
}

Type* Emitter::floats(int width) { return type_of_width(b_.getFloatTy(), width); }

Value* Emitter::spread(Value* x, int width) {
  return width_of(x) == width ? x : b_.CreateVectorSplat(width, x);
}

Value* Emitter::iota(Type* element, int width, std::int64_t stride) {
  std::vector<llvm::Constant*> lanes;
  for (int i = 0; i < width; ++i)
    lanes.push_back(llvm::ConstantInt::getSigned(element, i * stride));
  return width == 1 ? lanes[0] : llvm::ConstantVector::get(lanes);
}

Value* Emitter::first_lanes(Value* count, int width) {
  Value* limit = spread(b_.CreateTrunc(count, b_.getInt32Ty()), width);
  return b_.CreateICmpSLT(iota(b_.getInt32Ty(), width, 1), limit);
}

Value* Emitter::element_address(BufferId buffer, Type* element, Value* index) {
  return b_.CreateGEP(element, this->buffer(buffer), index);
}

Type* Emitter::lane_integer(ExprId id) {
  const bool narrow = analysis_.bound(id) <= std::numeric_limits<std::int32_t>::max();
  return narrow ? b_.getInt32Ty() : b_.getInt64Ty();
}

void Emitter::set_lanes(VarId variable, int width, Value* base, Value* mask) {
  bind(variable, base);
  if (width == 1) return;  // one lane is a scalar
  lanes_ = {variable, width, mask};
  if (strides_of_ == variable) return;
  strides_ = strides(kernel_, analysis_, variable);
  strides_of_ = variable;
}

void Emitter::bind(VarId variable, Value* value) {
  variables_[variable] = value;
  bound_.insert(variable);
}

void Emitter::remember(std::vector<Value*>& memo, ExprId id, Value* value) {
  memo[id] = value;
  undo_.emplace_back(&memo, id);
}

Value* Emitter::value(ExprId id) {
  if (values_[id]) return values_[id];
  Value* result = in_lanes(id) ? compute_lanes(id) : compute(id);
  remember(values_, id, result);
  return result;
}

Value* Emitter::vector(ExprId id) {
  Value* x = value(id);
  return lanes_.variable >= 0 ? spread(x, lanes_.width) : x;
}

Value* Emitter::base(ExprId id) {
  if (!in_lanes(id)) return value(id);
  if (bases_[id]) return bases_[id];
  const Expr& expr = kernel_[id];
  const auto operand = [&](int i) { return base(expr.operands[i]); };
  Value* result = nullptr;
  switch (expr.kind) {
    case ExprKind::variable:
      return variables_[expr.integer];
    case ExprKind::iadd:
      result = b_.CreateAdd(operand(0), operand(1));
      break;
    case ExprKind::imul:
      result = b_.CreateMul(operand(0), i64(expr.integer));
      break;
    case ExprKind::idiv:
      result = b_.CreateUDiv(operand(0), i64(expr.integer));
      break;
    case ExprKind::imod:
      result = b_.CreateURem(operand(0), i64(expr.integer));
      break;
    case ExprKind::imin:
      result = least(operand(0), operand(1));
      break;
    default:
      throw InternalError("the lanes of this expression have no base");
  }
  remember(bases_, id, result);
  return result;
}

/// An expression that is the same in all lanes.
Value* Emitter::compute(ExprId id) {
  const Expr& expr = kernel_[id];
  const auto operand = [&](int i) { return value(expr.operands[i]); };
  switch (expr.kind) {
    case ExprKind::integer:
      return i64(expr.integer);
    case ExprKind::variable:
      internal_check(bound_.contains(static_cast<VarId>(expr.integer)), "v{} is not bound",
                     expr.integer);
      return variables_[expr.integer];
    case ExprKind::load_index:
      return b_.CreateSExt(load(expr, b_.getInt32Ty()), b_.getInt64Ty());
    case ExprKind::iadd:
      return b_.CreateAdd(operand(0), operand(1));
    case ExprKind::imul:
      return b_.CreateMul(operand(0), i64(expr.integer));
    case ExprKind::idiv:
      return b_.CreateUDiv(operand(0), i64(expr.integer));
    case ExprKind::imod:
      return b_.CreateURem(operand(0), i64(expr.integer));
    case ExprKind::imin:
      return least(operand(0), operand(1));
    case ExprKind::scalar:
      return scalar_op(expr);
    case ExprKind::load:
      return load(expr, b_.getFloatTy());
    case ExprKind::accumulator:
      throw InternalError("an accumulator outside the lanes of its tile");
    case ExprKind::to_float:
      return b_.CreateSIToFP(operand(0), b_.getFloatTy());
    case ExprKind::random:
      return random(expr);
    case ExprKind::reduce:
      return reduce(id);
  }
  throw InternalError("an expression of no kind");
}

/// An expression that differs from lane to lane.
Value* Emitter::compute_lanes(ExprId id) {
  const Expr& expr = kernel_[id];
  const int width = lanes_.width;
  const auto as = [&](ExprId operand, Type* element) {
    return b_.CreateSExtOrTrunc(vector(operand), type_of_width(element, width));
  };
  if (is_integer(expr) && strides_[id]) {
    Type* element = lane_integer(id);
    Value* first = spread(b_.CreateTrunc(base(id), element), width);
    return b_.CreateAdd(first, iota(element, width, *strides_[id]));
  }
  switch (expr.kind) {
    case ExprKind::integer:
    case ExprKind::variable:
      break;
    case ExprKind::load_index:
      return load(expr, b_.getInt32Ty());
    case ExprKind::iadd: {
      Type* element = lane_integer(id);
      return b_.CreateAdd(as(expr.operands[0], element), as(expr.operands[1], element));
    }
    case ExprKind::imul: {
      Type* element = lane_integer(id);
      Value* factor = llvm::ConstantInt::getSigned(type_of_width(element, width), expr.integer);
      return b_.CreateMul(as(expr.operands[0], element), factor);
    }
    case ExprKind::imin: {
      Type* wide = b_.getInt64Ty();
      Value* x = least(as(expr.operands[0], wide), as(expr.operands[1], wide));
      return b_.CreateSExtOrTrunc(x, type_of_width(lane_integer(id), width));
    }
    case ExprKind::idiv:
    case ExprKind::imod: {
      Value* x = as(expr.operands[0], lane_integer(expr.operands[0]));
      Value* divisor = llvm::ConstantInt::getSigned(x->getType(), expr.integer);
      x = expr.kind == ExprKind::idiv ? b_.CreateUDiv(x, divisor) : b_.CreateURem(x, divisor);
      return b_.CreateSExtOrTrunc(x, type_of_width(lane_integer(id), width));
    }
    case ExprKind::scalar:
      return scalar_op(expr);
    case ExprKind::load:
      return load(expr, b_.getFloatTy());
    case ExprKind::accumulator: {
      const int gate_lanes = kernel_.packings[stage_.contraction->packing].lanes;
      Value* lane = b_.CreateSub(variables_[lanes_.variable], tile_lane_);
      lane = b_.CreateAdd(lane, i64(expr.integer * gate_lanes));
      Value* address = b_.CreateGEP(b_.getFloatTy(), tile_row_, lane);
      return b_.CreateAlignedLoad(floats(width), address, llvm::Align(4 * width));
    }
    case ExprKind::to_float:
      return b_.CreateSIToFP(value(expr.operands[0]), floats(width));
    case ExprKind::random:
      return random(expr);
    case ExprKind::reduce:
      return reduce(id);
  }
  throw InternalError("an expression of no kind");
}

Value* Emitter::load_vector(Type* type, Value* first, Value* mask) {
  const llvm::Align align(type->getScalarSizeInBits() / 8);
  if (!mask) return b_.CreateAlignedLoad(type, first, align);
  return b_.CreateMaskedLoad(type, first, align, mask, llvm::Constant::getNullValue(type));
}

Value* Emitter::load(const Expr& expr, Type* element) {
  const ExprId address = expr.operands[0];
  const llvm::Align align(element->getPrimitiveSizeInBits() / 8);
  if (!in_lanes(address))
    return b_.CreateAlignedLoad(element, element_address(expr.buffer, element, value(address)),
                                align);
  Type* type = type_of_width(element, lanes_.width);
  if (strides_[address] == 1)
    return load_vector(type, element_address(expr.buffer, element, base(address)), lanes_.mask);
  Value* each = element_address(expr.buffer, element, value(address));
  return b_.CreateMaskedGather(type, each, align, lanes_.mask, llvm::Constant::getNullValue(type));
}

void Emitter::store(const Store& store) {
  const llvm::Align align(4);
  if (lanes_.variable < 0) {
    Value* address = element_address(store.buffer, b_.getFloatTy(), value(store.address));
    b_.CreateAlignedStore(value(store.value), address, align);
    return;
  }
  Value* x = vector(store.value);
  if (!in_lanes(store.address)) {  // of a tile whose only row is lane 0
    internal_check(stage_.extents.back() == 1, "all lanes are stored to one address");
    Value* address = element_address(store.buffer, b_.getFloatTy(), value(store.address));
    b_.CreateAlignedStore(b_.CreateExtractElement(x, std::uint64_t{0}), address, align);
    return;
  }
  if (strides_[store.address] == 1) {
    Value* first = element_address(store.buffer, b_.getFloatTy(), base(store.address));
    if (lanes_.mask)
      b_.CreateMaskedStore(x, first, align, lanes_.mask);
    else
      b_.CreateAlignedStore(x, first, align);
    return;
  }
  Value* each = element_address(store.buffer, b_.getFloatTy(), value(store.address));
  b_.CreateMaskedScatter(x, each, align, lanes_.mask);
}

/// A comparison stays a mask where it is only selected by.
Value* Emitter::condition(ExprId id, bool lanes) {
  const Expr& expr = kernel_[id];
  const auto operand = [&](int i) {
    return lanes ? vector(expr.operands[i]) : value(expr.operands[i]);
  };
  if (expr.kind == ExprKind::scalar && expr.opcode == ir::Opcode::less)
    return b_.CreateFCmpOLT(operand(0), operand(1));
  if (expr.kind == ExprKind::scalar && expr.opcode == ir::Opcode::equal)
    return b_.CreateFCmpOEQ(operand(0), operand(1));
  Value* x = lanes ? vector(id) : value(id);
  return b_.CreateFCmpUNE(x, llvm::ConstantFP::get(x->getType(), 0));
}

/// exp, log or tanh; where calls_math_, by a function that the module has once for each width.
Value* Emitter::math(ir::Opcode opcode, Value* x) {
  const auto emit = [&](Builder& b, Value* of) {
    if (opcode == ir::Opcode::exp) return emit_exp(b, target_, of);
    return opcode == ir::Opcode::log ? emit_log(b, target_, of) : emit_tanh(b, target_, of);
  };
  if (!calls_math_) return emit(b_, x);
  llvm::Module& module = *function_->getParent();
  const std::string name = "espalier_function_" + std::to_string(static_cast<int>(opcode)) + "_" +
                           std::to_string(width_of(x));
  llvm::Function* function = module.getFunction(name);
  if (!function) {
    auto* type = llvm::FunctionType::get(x->getType(), {x->getType()}, false);
    function = llvm::Function::Create(type, llvm::Function::InternalLinkage, name, module);
    function->setAttributes(function_->getAttributes());
    Builder b(llvm::BasicBlock::Create(module.getContext(), "entry", function));
    b.CreateRet(emit(b, function->getArg(0)));
  }
  return b_.CreateCall(function, {x});
}

Value* Emitter::scalar_op(const Expr& expr) {
  // Spread over the lanes only if the result is: each operand is then a vector.
  bool lanes = false;
  for (ExprId operand : expr.operands) lanes |= operand >= 0 && in_lanes(operand);
  const auto operand = [&](int i) {
    return lanes ? vector(expr.operands[i]) : value(expr.operands[i]);
  };
  const auto zero_or_one = [&](Value* condition) {
    Type* type = condition->getType()->getWithNewType(b_.getFloatTy());
    return b_.CreateSelect(condition, llvm::ConstantFP::get(type, 1),
                           llvm::ConstantFP::get(type, 0));
  };
  switch (expr.opcode) {
    case ir::Opcode::constant:
      return llvm::ConstantFP::get(b_.getFloatTy(), static_cast<float>(expr.number));
    case ir::Opcode::add:
      return b_.CreateFAdd(operand(0), operand(1));
    case ir::Opcode::sub:
      return b_.CreateFSub(operand(0), operand(1));
    case ir::Opcode::mul:
      return b_.CreateFMul(operand(0), operand(1));
    case ir::Opcode::div:
      return b_.CreateFDiv(operand(0), operand(1));
    case ir::Opcode::neg:
      return b_.CreateFNeg(operand(0));
    case ir::Opcode::abs:
      return b_.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, operand(0));
    case ir::Opcode::max: {
      Value *a = operand(0), *b = operand(1);
      return b_.CreateSelect(b_.CreateFCmpOLT(a, b), b, a);
    }
    case ir::Opcode::min: {
      Value *a = operand(0), *b = operand(1);
      return b_.CreateSelect(b_.CreateFCmpOLT(b, a), b, a);
    }
    case ir::Opcode::exp:
      return math(expr.opcode, operand(0));
    case ir::Opcode::log:
      return math(expr.opcode, operand(0));
    case ir::Opcode::sqrt:
      return b_.CreateUnaryIntrinsic(llvm::Intrinsic::sqrt, operand(0));
    case ir::Opcode::tanh:
      return math(expr.opcode, operand(0));
    case ir::Opcode::less:
      return zero_or_one(b_.CreateFCmpOLT(operand(0), operand(1)));
    case ir::Opcode::equal:
      return zero_or_one(b_.CreateFCmpOEQ(operand(0), operand(1)));
    case ir::Opcode::select: {
      Value *a = operand(1), *b = operand(2);
      return b_.CreateSelect(condition(expr.operands[0], lanes), a, b);
    }
  }
  throw InternalError("a scalar operation without an opcode");
}

Value* Emitter::random(const Expr& expr) {
  const ExprId row = expr.operands[0], count = expr.operands[1];
  const bool lanes = in_lanes(row) || in_lanes(count);
  const auto narrow = [&](Value* x) {
    return b_.CreateSExtOrTrunc(x, type_of_width(b_.getInt32Ty(), width_of(x)));
  };
  const auto shape = [&](Value* x) { return lanes ? spread(x, lanes_.width) : x; };
  Value* key = load(expr, b_.getInt64Ty());
  Value* low = shape(narrow(key));
  Value* high = shape(narrow(b_.CreateLShr(key, 32)));
  return emit_random(b_, low, high, static_cast<std::uint32_t>(expr.integer),
                     shape(narrow(value(count))));
}

}  // namespace espalier::codegen
