// Emission of loops and of the stages that are no tiles.
#include "codegen/cpu/emit.h"

#include <llvm/IR/Function.h>
#include <llvm/IR/Module.h>

#include <algorithm>

#include "base/error.h"
#include "codegen/cpu/emitter.h"
#include "codegen/kernel/tiling.h"

namespace espalier::codegen {

using llvm::BasicBlock;

namespace {

/// Copies of exp, log and tanh in one function, above which LLVM would be busy with them for long.
constexpr std::ptrdiff_t most_inlined = 40;

bool is_math(const Expr& expr) {
  return expr.kind == ExprKind::scalar &&
         (expr.opcode == ir::Opcode::exp || expr.opcode == ir::Opcode::log ||
          expr.opcode == ir::Opcode::tanh);
}

}  // namespace

Emitter::Emitter(const Kernel& kernel, const Stage& stage, const Target& target,
                 llvm::Function* function)
    : kernel_(kernel),
      stage_(stage),
      target_(target),
      analysis_(kernel, stage),
      function_(function),
      b_(function->getContext()),
      buffers_(kernel.buffers.size()),
      variables_(kernel.variables),
      bound_(kernel.variables),
      values_(kernel.exprs.size()),
      bases_(kernel.exprs.size()) {
  b_.SetInsertPoint(block("entry"));
  const auto functions =
      std::ranges::count_if(analysis_.evaluated(), [&](ExprId id) { return is_math(kernel[id]); });
  calls_math_ = functions > most_inlined;
  for (const Store& store : stage.stores) roots_.insert(roots_.end(), {store.address, store.value});
}

Emitter::Scope::Scope(Emitter& emitter)
    : e_(emitter), undo_(e_.undo_.size()), bound_(e_.bound_), lanes_(e_.lanes_) {}

Emitter::Scope::~Scope() {
  for (; e_.undo_.size() > undo_; e_.undo_.pop_back()) {
    const auto [memo, id] = e_.undo_.back();
    (*memo)[id] = nullptr;
  }
  e_.bound_ = bound_;
  e_.lanes_ = lanes_;
}

Value* Emitter::buffer(BufferId id) {
  if (buffers_[id]) return buffers_[id];
  BasicBlock& entry = function_->getEntryBlock();
  Builder at_entry(&entry, entry.begin());
  Value* place = at_entry.CreateConstGEP1_64(b_.getPtrTy(), function_->getArg(0), id);
  return buffers_[id] = at_entry.CreateLoad(b_.getPtrTy(), place);
}

BasicBlock* Emitter::block(const char* name) {
  return BasicBlock::Create(function_->getContext(), name, function_);
}

std::vector<Value*> Emitter::loop(Value* begin, Value* end, std::int64_t step,
                                  std::vector<Value*> initial, const Accumulate& body) {
  const auto* first = llvm::dyn_cast<llvm::ConstantInt>(begin);
  const auto* last = llvm::dyn_cast<llvm::ConstantInt>(end);
  const bool known = first && last;
  const std::int64_t length = known ? last->getSExtValue() - first->getSExtValue() : -1;
  if (known && length <= 0) return initial;
  if (known && length <= step) {
    const Scope scope(*this);
    return body(begin, initial);
  }

  BasicBlock *before = b_.GetInsertBlock(), *turn = block("loop"), *after = block("after");
  if (known)
    b_.CreateBr(turn);
  else
    b_.CreateCondBr(b_.CreateICmpSLT(begin, end), turn, after);

  b_.SetInsertPoint(turn);
  llvm::PHINode* index = b_.CreatePHI(b_.getInt64Ty(), 2);
  index->addIncoming(begin, before);
  std::vector<llvm::PHINode*> carried;
  for (Value* x : initial) {
    carried.push_back(b_.CreatePHI(x->getType(), 2));
    carried.back()->addIncoming(x, before);
  }
  std::vector<Value*> next;
  {
    const Scope scope(*this);
    next = body(index, std::vector<Value*>(carried.begin(), carried.end()));
  }
  BasicBlock* latch = b_.GetInsertBlock();
  Value* following = b_.CreateNSWAdd(index, i64(step));
  index->addIncoming(following, latch);
  for (std::size_t i = 0; i < carried.size(); ++i) carried[i]->addIncoming(next[i], latch);
  b_.CreateCondBr(b_.CreateICmpSLT(following, end), turn, after);

  b_.SetInsertPoint(after);
  if (known) return next;
  std::vector<Value*> results;
  for (std::size_t i = 0; i < initial.size(); ++i) {
    llvm::PHINode* result = b_.CreatePHI(initial[i]->getType(), 2);
    result->addIncoming(initial[i], before);
    result->addIncoming(next[i], latch);
    results.push_back(result);
  }
  return results;
}

void Emitter::loop(Value* begin, Value* end, std::int64_t step, const Body& body) {
  loop(begin, end, step, {}, [&](Value* index, auto) -> std::vector<Value*> {
    body(index);
    return {};
  });
}

void Emitter::branch(Value* condition, const std::function<void()>& body) {
  if (const auto* known = llvm::dyn_cast<llvm::ConstantInt>(condition)) {
    if (known->isZero()) return;
    const Scope scope(*this);
    return body();
  }
  BasicBlock *taken = block("taken"), *after = block("after");
  b_.CreateCondBr(condition, taken, after);
  b_.SetInsertPoint(taken);
  {
    const Scope scope(*this);
    body();
  }
  b_.CreateBr(after);
  b_.SetInsertPoint(after);
}

std::vector<ExprId> Emitter::reduced(const Expr& expr) {
  std::vector<ExprId> operands{expr.operands[2]};
  if (expr.reduction == Reduction::fma) operands.push_back(expr.operands[3]);
  return operands;
}

void Emitter::hoist(const std::vector<ExprId>& roots) {
  std::vector<bool> seen(kernel_.exprs.size());
  for (ExprId root : roots) hoist(root, seen);
}

void Emitter::hoist(ExprId id, std::vector<bool>& seen) {
  if (seen[id]) return;
  seen[id] = true;
  const Expr& expr = kernel_[id];
  if (expr.kind == ExprKind::integer || expr.kind == ExprKind::variable) return;
  if (analysis_.depends_only_on(id, bound_)) {
    // An affine integer is needed in lane 0 alone; the others follow from its stride.
    if (is_integer(expr) && in_lanes(id) && strides_[id])
      base(id);
    else
      value(id);
    return;
  }
  for (ExprId operand : expr.operands)
    if (operand >= 0) hoist(operand, seen);
}

void Emitter::stores() {
  for (const Store& s : stage_.stores) store(s);
}

Value* Emitter::least(Value* a, Value* b) {
  return b_.CreateSelect(b_.CreateICmpSLT(a, b), a,
                         b);  // folds constants, as an intrinsic does not
}

void Emitter::chunks(int width, Value* begin, Value* end, const std::function<void()>& body) {
  const std::int64_t extent = stage_.extents.back();
  const VarId variable = stage_.variables.back();
  Value* whole = i64(extent / width);
  hoist(roots_);
  loop(begin, least(whole, end), 1, [&](Value* chunk) {
    set_lanes(variable, width, b_.CreateMul(chunk, i64(width)), nullptr);
    body();
  });
  if (extent % width == 0) return;
  Value* included = b_.CreateAnd(b_.CreateICmpSLE(begin, whole), b_.CreateICmpSGT(end, whole));
  branch(included, [&] {
    set_lanes(variable, width, i64(extent / width * width),
              first_lanes(i64(extent % width), width));
    body();
  });
}

void Emitter::domain(std::size_t axis) {
  if (axis == stage_.extents.size()) return stores();
  if (!chains_.empty() && axis + 2 >= stage_.extents.size()) return emit_chains();
  const std::int64_t extent = stage_.extents[axis];
  const bool parts = axis == 0 && stage_.rows == RowDomain::once;
  const bool vectors = axis + 1 == stage_.extents.size() && !stage_.vector_reduce;
  const int width = vectors ? vector_width(target_, extent) : 1;
  Value* begin = parts ? function_->getArg(3) : i64(0);
  Value* end = parts ? function_->getArg(4) : i64((extent + width - 1) / width);
  if (width > 1) return chunks(width, begin, end, [&] { stores(); });
  hoist(roots_);
  loop(begin, end, 1, [&](Value* index) {
    bind(stage_.variables[axis], index);
    domain(axis + 1);
  });
}

void Emitter::emit_map() {
  chains_ = chains();
  hoist(roots_);
  if (stage_.rows == RowDomain::once && !stage_.extents.empty()) {
    domain(0);
  } else {
    // One part, for all rows.
    loop(function_->getArg(3), function_->getArg(4), 1, [&](Value*) {
      if (stage_.rows == RowDomain::once) return domain(0);
      loop(function_->getArg(1), function_->getArg(2), 1, [&](Value* row) {
        bind(stage_.row, row);
        domain(0);
      });
    });
  }
  b_.CreateRetVoid();
}

llvm::AllocaInst* Emitter::stack_floats(std::int64_t count) {
  BasicBlock& entry = function_->getEntryBlock();
  Builder at_entry(&entry, entry.begin());
  llvm::AllocaInst* place = at_entry.CreateAlloca(b_.getFloatTy(), i64(count));
  place->setAlignment(llvm::Align(64));
  return place;
}

std::string stage_symbol(std::size_t stage) { return "espalier_stage_" + std::to_string(stage); }

namespace {

llvm::Function* make_function(const Target& target, llvm::Module& module, const std::string& name,
                              std::initializer_list<llvm::Type*> arguments, bool exported) {
  auto* type =
      llvm::FunctionType::get(llvm::Type::getVoidTy(module.getContext()), arguments, false);
  auto* function = llvm::Function::Create(
      type, exported ? llvm::Function::ExternalLinkage : llvm::Function::InternalLinkage, name,
      module);
  function->setDoesNotThrow();
  function->addFnAttr("target-cpu", target.cpu);
  function->addFnAttr("target-features", target.features);
  // Else CPUs that once slowed down for 512-bit vectors get narrower ones.
  function->addFnAttr("prefer-vector-width", std::to_string(32 * target.width));
  return function;
}

}  // namespace

void emit_kernel(const Kernel& kernel, const Target& target, llvm::Module& module) {
  llvm::Type* pointer = llvm::PointerType::get(module.getContext(), 0);
  llvm::Type* integer = llvm::Type::getInt64Ty(module.getContext());
  for (std::size_t i = 0; i < kernel.stages.size(); ++i) {
    const Stage& stage = kernel.stages[i];
    llvm::Function* function = make_function(target, module, stage_symbol(i),
                                             {pointer, integer, integer, integer, integer}, true);
    Emitter emitter(kernel, stage, target, function);
    if (stage.contraction) {
      llvm::Function* epilogue =
          make_function(target, module, stage_symbol(i) + "_epilogue",
                        {pointer, pointer, integer, integer, integer}, false);
      Emitter(kernel, stage, target, epilogue).emit_contraction_epilogue();
      emitter.emit_contraction(epilogue);
    } else if (stage.outer_product) {
      emitter.emit_outer_product();
    } else {
      emitter.emit_map();
    }
  }
}

}  // namespace espalier::codegen
