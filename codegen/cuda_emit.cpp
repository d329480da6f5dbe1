// Printing of kernels: the prelude, a function a stage, and its entry.
#include "codegen/cuda_emit.h"

#include <fmt/format.h>

#include <iterator>
#include <set>

#include "codegen/cuda_emitter.h"

namespace espalier::codegen {

CudaEmitter::CudaEmitter(const Kernel& kernel, const Stage& stage, std::string& text,
                         StageForm form)
    : kernel_(kernel),
      stage_(stage),
      analysis_(kernel, stage),
      text_(text),
      form_(form),
      variable_bounds_(kernel.variables),
      bound_(kernel.variables),
      values_(kernel.exprs.size()) {
  for (const Store& store : stage.stores) roots_.insert(roots_.end(), {store.address, store.value});
  for (std::size_t id = 0; id < kernel.exprs.size(); ++id)
    if (const Expr& expr = kernel.exprs[id]; expr.kind == ExprKind::variable)
      variable_bounds_[expr.integer] = analysis_.bound(static_cast<ExprId>(id));
}

CudaEmitter::Scope::Scope(CudaEmitter& emitter)
    : e_(emitter), undo_(e_.undo_.size()), bound_(e_.bound_) {
  ++e_.indent_;
}

CudaEmitter::Scope::~Scope() {
  for (; e_.undo_.size() > undo_; e_.undo_.pop_back()) e_.values_[e_.undo_.back()].clear();
  e_.bound_ = bound_;
  --e_.indent_;
}

void CudaEmitter::block(const std::string& first, const std::function<void()>& body,
                        std::string_view last) {
  line("{}", first);
  {
    const Scope scope(*this);
    body();
  }
  line("{}", last);
}

/// The pointers of all buffers that the stage touches.
void CudaEmitter::buffers() {
  std::set<BufferId> used;
  std::vector<bool> seen(kernel_.exprs.size());
  const std::function<void(ExprId)> visit = [&](ExprId id) {
    if (id < 0 || seen[id]) return;
    seen[id] = true;
    if (kernel_[id].buffer >= 0) used.insert(kernel_[id].buffer);
    for (ExprId operand : kernel_[id].operands) visit(operand);
  };
  for (ExprId root : roots_) visit(root);
  for (const Store& store : stage_.stores) used.insert(store.buffer);
  if (stage_.contraction) {
    used.insert(stage_.contraction->weights);
    for (const Contraction::Term& term : stage_.contraction->terms) {
      visit(term.address);
      used.insert(term.x);
    }
  }
  std::set<BufferId> stored;
  for (const Store& store : stage_.stores) stored.insert(store.buffer);
  for (BufferId id : used) {
    std::string_view type = "const float";
    switch (codegen::element(kernel_.buffers[id])) {
      case Element::f32:
        if (stored.contains(id)) type = "float";
        break;
      case Element::i32:
        type = "const int";
        break;
      case Element::u64:
        type = "const u64";
        break;
      case Element::bf16:
        type = stored.contains(id) ? "u16" : "const u16";
        break;
    }
    line("{0}* const b{1} = static_cast<{0}*>(buffers[{1}]);", type, id);
  }
}

CudaStage CudaEmitter::emit() {
  buffers();
  CudaStage result = stage_.library         ? library_product()
                     : stage_.contraction   ? contraction()
                     : stage_.outer_product ? outer_product()
                                            : map();
  result.rows = stage_.rows;
  result.port = stage_.port;
  result.threads = cuda_threads;
  return result;
}

std::int64_t CudaStage::tiles(std::int64_t row_count) const {
  if (rows == RowDomain::once) row_count = 1;
  const bool large = row_count >= large_from;
  const std::int64_t height = large ? large_row_tile : row_tile;
  return (row_count + height - 1) / height * (large ? large_parts : parts);
}

CudaStage print_stage(const Kernel& kernel, const Stage& stage, std::string_view name,
                      StageForm form, std::string& text) {
  fmt::format_to(std::back_inserter(text),
                 "\n// stage {} of {}{}\n__device__ {}void {}(void* const* buffers, i64 row_begin, "
                 "i64 row_end, unsigned block, unsigned blocks{}) {{\n",
                 &stage - kernel.stages.data(), kernel.name,
                 form == StageForm::held ? ", weights held" : "",
                 form == StageForm::plain ? "" : "__noinline__ ", name,
                 form == StageForm::held ? ", Held held" : "");
  CudaStage result = CudaEmitter(kernel, stage, text, form).emit();
  text += "}\n";
  return result;
}

CudaText print_cuda_stages(const Kernel& kernel, std::string_view name) {
  CudaText result;
  for (std::size_t i = 0; i < kernel.stages.size(); ++i) {
    const std::string function = fmt::format("{}stage_{}", name, i);
    CudaStage stage =
        print_stage(kernel, kernel.stages[i], function, StageForm::plain, result.source);
    stage.symbol = fmt::format("{}espalier_stage_{}", name, i);
    fmt::format_to(std::back_inserter(result.source),
                   "extern \"C\" __global__ void __launch_bounds__({0}, 2)\n{1}(const "
                   "EspalierLaunch* launch) {{\n  {2}(launch->buffers, launch->row_begin, "
                   "launch->row_end, blockIdx.x, gridDim.x);\n}}\n",
                   cuda_threads, stage.symbol, function);
    result.stages.push_back(std::move(stage));
  }
  return result;
}

CudaText print_cuda(const Kernel& kernel) {
  CudaText text = print_cuda_stages(kernel, "");
  text.source.insert(0, cuda_prelude());
  return text;
}

}  // namespace espalier::codegen
