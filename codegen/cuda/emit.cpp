// Printing of kernels: the prelude, a function a stage, and its entry.
#include "codegen/cuda/emit.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <numeric>
#include <set>

#include "codegen/cuda/emitter.h"

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
  for (BufferId id : used) line("is_global(b{});", id);
}

CudaStage CudaEmitter::emit() {
  buffers();
  CudaStage result = stage_.library         ? library_stage()
                     : stage_.contraction   ? contraction()
                     : stage_.outer_product ? outer_product()
                                            : map();
  result.rows = stage_.rows;
  result.port = stage_.port;
  result.threads = cuda_threads;
  return result;
}

namespace {

/// As a kernel gets them; `block` of `blocks` has to do with its number.
constexpr std::string_view parameters =
    "void* const* buffers, i64 row_begin, i64 row_end, unsigned block, unsigned blocks";

std::string_view qualifiers(StageForm form) {
  return form == StageForm::plain ? "__device__" : "__device__ __noinline__";
}

/// Runs stages one after another: the tiles of each begin at the block behind the last one of the
/// stage before, so that all blocks have as many.
CudaStage print_joined(std::string& text, std::string_view function, StageForm form,
                       std::vector<CudaStage> stages) {
  const auto out = std::back_inserter(text);
  fmt::format_to(out, "{} void {}({}) {{\n  unsigned first = block;\n", qualifiers(form), function,
                 parameters);
  CudaStage result = stages.front();
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const CudaStage& stage = stages[i];
    const std::string height =
        stage.rows == RowDomain::once
            ? "1u"
            : fmt::format("static_cast<u32>((row_end - row_begin + {}) / {})", stage.row_tile - 1,
                          stage.row_tile);
    fmt::format_to(
        out,
        "  {{\n    const u32 height = {1};\n"
        "    if (first < static_cast<i64>(height) * {2})\n"
        "      {0}_{3}(buffers, row_begin, row_end, first, blocks);\n"
        "    first = (first + blocks - height % blocks * ({2}u % blocks) % blocks) % blocks;\n"
        "  }}\n",
        function, height, stage.parts, i);
    result.shared_bytes = std::max(result.shared_bytes, stage.shared_bytes);
  }
  text += "}\n";
  result.joined = std::move(stages);
  return result;
}

}  // namespace

CudaStage print_stage(const Kernel& kernel, std::size_t number, std::string_view name,
                      StageForm form, std::string& text) {
  const bool held = form == StageForm::held;
  fmt::format_to(std::back_inserter(text), "\n// stage {} of {}{}\n{} void {}({}{}) {{\n", number,
                 kernel.name, held ? ", weights held" : "", qualifiers(form), name, parameters,
                 held ? ", Held held" : "");
  CudaStage result = CudaEmitter(kernel, kernel.stages[number], text, form).emit();
  result.first = static_cast<int>(number);
  text += "}\n";
  return result;
}

CudaStage print_launched(const Kernel& kernel, std::size_t first, std::string_view name,
                         StageForm form, std::string& text) {
  std::size_t end = first + 1;
  while (end < kernel.stages.size() && kernel.stages[end].joined) ++end;
  if (end == first + 1) return print_stage(kernel, first, name, form, text);
  std::vector<CudaStage> stages;
  for (std::size_t i = first; i < end; ++i)
    stages.push_back(print_stage(kernel, i, fmt::format("{}_{}", name, i - first), form, text));
  return print_joined(text, name, form, std::move(stages));
}

CudaText print_cuda_stages(const Kernel& kernel, std::string_view name) {
  CudaText result;
  for (std::size_t first = 0; first < kernel.stages.size();) {
    const std::size_t number = result.stages.size();
    const std::string function = fmt::format("{}stage_{}", name, number);
    CudaStage stage = print_launched(kernel, first, function, StageForm::plain, result.source);
    stage.symbol = fmt::format("{}espalier_stage_{}", name, number);
    fmt::format_to(std::back_inserter(result.source),
                   "extern \"C\" __global__ void __launch_bounds__({0}, 2)\n{1}(const "
                   "EspalierLaunch* launch) {{\n  {2}(launch->buffers, launch->row_begin, "
                   "launch->row_end, blockIdx.x, gridDim.x);\n}}\n",
                   cuda_threads, stage.symbol, function);
    first += stage.count();
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
