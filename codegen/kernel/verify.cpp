#include "codegen/kernel/verify.h"

#include <fmt/format.h>

#include "base/error.h"
#include "codegen/kernel/analysis.h"

namespace espalier::codegen {

namespace {

class Verifier {
 public:
  explicit Verifier(const Kernel& kernel) : kernel_(kernel), place_("expressions") {}

  void run() {
    for (const Packing& packing : kernel_.packings)
      check(packing.gates > 0 && packing.lanes > 0 && packing.m > 0 && packing.k > 0 &&
                packing.m % packing.gates == 0,
            "a packing is not of whole gates and lanes");
    for (ExprId id = 0; id < count(); ++id) expression(id);
    for (std::size_t i = 0; i < kernel_.stages.size(); ++i) {
      place_ = fmt::format("stage {}", i);
      stage(kernel_.stages[i]);
      if (kernel_.stages[i].joined) joined(i);
    }
  }

 private:
  ExprId count() const { return static_cast<ExprId>(kernel_.exprs.size()); }

  void check(bool condition, std::string_view what) const {
    internal_check(condition, "kernel '{}', {}: {}", kernel_.name, place_, what);
  }

  bool is_variable(std::int64_t v) const { return v >= 0 && v < kernel_.variables; }

  bool is_buffer(BufferId id, Element wanted) const {
    return id >= 0 && id < static_cast<BufferId>(kernel_.buffers.size()) &&
           element(kernel_.buffers[id]) == wanted;
  }
  bool is_float(BufferId id) const {
    return is_buffer(id, Element::f32) || is_buffer(id, Element::bf16);
  }

  /// Checks that the expression has exactly these operands: 'i' an integer, 'f' a float.
  void operands(ExprId id, std::string_view wanted) const {
    for (std::size_t i = 0; i < 4; ++i) {
      const ExprId operand = kernel_[id].operands[i];
      if (i >= wanted.size()) {
        check(operand == -1, fmt::format("%{} has too many operands", id));
        continue;
      }
      check(operand >= 0 && operand < id, fmt::format("operand {} of %{} is %{}", i, id, operand));
      check(is_integer(kernel_[operand]) == (wanted[i] == 'i'),
            fmt::format("operand {} of %{} is of the wrong type", i, id));
    }
  }

  void expression(ExprId id) const {
    const Expr& expr = kernel_[id];
    const auto buffer = [&](Element wanted) {
      check(is_buffer(expr.buffer, wanted), fmt::format("%{} reads the wrong buffer", id));
    };
    switch (expr.kind) {
      case ExprKind::integer:
        return operands(id, "");
      case ExprKind::variable:
        check(is_variable(expr.integer), fmt::format("%{} is no variable", id));
        return operands(id, "");
      case ExprKind::load_index:
        buffer(Element::i32);
        return operands(id, "i");
      case ExprKind::iadd:
      case ExprKind::imin:
        return operands(id, "ii");
      case ExprKind::imul:
        return operands(id, "i");
      case ExprKind::idiv:
      case ExprKind::imod:
        check(expr.integer > 0, fmt::format("%{} divides by {}", id, expr.integer));
        return operands(id, "i");
      case ExprKind::scalar:
        return operands(id, std::string_view("fff").substr(0, arity(expr.opcode)));
      case ExprKind::load:
        check(is_float(expr.buffer), fmt::format("%{} reads the wrong buffer", id));
        return operands(id, "i");
      case ExprKind::accumulator:
        check(expr.integer >= 0, fmt::format("%{} has a negative gate", id));
        return operands(id, "");
      case ExprKind::to_float:
        return operands(id, "i");
      case ExprKind::random:
        buffer(Element::u64);
        return operands(id, "ii");
      case ExprKind::reduce:
        check(is_variable(expr.integer), fmt::format("%{} reduces over no variable", id));
        check(expr.block >= 0 && (expr.block == 0 || expr.reduction == Reduction::sum ||
                                  expr.reduction == Reduction::fma),
              fmt::format("%{} reduces in blocks of {}", id, expr.block));
        return operands(id, expr.reduction == Reduction::fma ? "iiff" : "iif");
    }
  }

  static std::size_t arity(ir::Opcode opcode) {
    switch (opcode) {
      case ir::Opcode::constant:
        return 0;
      case ir::Opcode::neg:
      case ir::Opcode::abs:
      case ir::Opcode::exp:
      case ir::Opcode::log:
      case ir::Opcode::sqrt:
      case ir::Opcode::tanh:
        return 1;
      case ir::Opcode::add:
      case ir::Opcode::sub:
      case ir::Opcode::mul:
      case ir::Opcode::div:
      case ir::Opcode::max:
      case ir::Opcode::min:
      case ir::Opcode::less:
      case ir::Opcode::equal:
        return 2;
      case ir::Opcode::select:
        return 3;
    }
    return 0;
  }

  void stage(const Stage& stage) const {
    VariableSet bound(kernel_.variables);
    const auto bind = [&](VarId v) {
      check(is_variable(v) && !bound.contains(v), "a loop has no variable of its own");
      bound.insert(v);
    };
    if (stage.rows != RowDomain::once) bind(stage.row);
    check((stage.rows == RowDomain::once) == (stage.row == -1), "row variable");
    if (stage.rows != RowDomain::parts && stage.rows != RowDomain::padding)
      check((stage.rows == RowDomain::children) == (stage.port >= 0), "port of a children stage");
    check((stage.rows == RowDomain::parts) == (stage.part_rows > 0), "rows of a part");
    check(stage.extents.size() == stage.variables.size(), "extents and variables differ");
    for (std::size_t axis = 0; axis < stage.extents.size(); ++axis) {
      bind(stage.variables[axis]);
      check(stage.extents[axis] > 0, "an extent is not positive");
    }

    const StageAnalysis analysis(kernel_, stage);
    std::vector<char> seen(kernel_.exprs.size());
    if (stage.contraction) contraction(stage, analysis, seen);
    for (const Store& store : stage.stores) {
      check(is_float(store.buffer), "a store goes to no float buffer");
      root(store.address, true, bound, analysis);
      root(store.value, false, bound, analysis);
      for (ExprId id : {store.address, store.value}) reachable(stage, analysis, bound, id, seen);
    }
    check(!stage.stores.empty(), "there is no store");
    if (stage.outer_product)
      check(match_outer_product(kernel_, stage, analysis).has_value(), "this is no outer product");
    if (stage.library) library(stage);
  }

  /// Pitches and extents. The tests of library_calls.h check the rest.
  void library(const Stage& stage) const {
    const LibraryContraction& product = *stage.library;
    check(stage.outer_product == product.over_rows && stage.stores.size() == 1 &&
              stage.stores[0].buffer == product.out &&
              (product.over_rows || stage.contraction.has_value()),
          "this is no product for a library");
    const Element factor = product.bf16 ? Element::bf16 : Element::f32;
    check(is_buffer(product.a, factor) && is_buffer(product.b, factor) &&
              is_buffer(product.out, Element::f32),
          "a library's product reads or writes the wrong buffers");
    const std::int64_t a = product.over_rows ? product.m : product.k;
    const std::int64_t b = product.over_rows ? product.k : product.m;
    check(product.a_pitch >= a && product.b_pitch >= b && product.out_pitch >= b,
          "the rows of a library's product overlap");
  }

  /// What stages read of each other is not checked here: buffers may overlap.
  void joined(std::size_t i) const {
    check(i > 0, "it is joined to nothing");
    const Stage& stage = kernel_.stages[i];
    while (kernel_.stages[i].joined && i > 0) --i;
    const Stage& first = kernel_.stages[i];
    check(!stage.contraction && !first.contraction, "a contraction is joined");
    check(!stage.library && !first.library, "a library's product is joined");
    check(stage.rows == RowDomain::once || (stage.rows == first.rows && stage.port == first.port &&
                                            stage.part_rows == first.part_rows),
          "it is joined to a stage over other rows");
  }

  void root(ExprId id, bool integer, const VariableSet& bound,
            const StageAnalysis& analysis) const {
    check(id >= 0 && id < count(), fmt::format("%{} does not exist", id));
    check(is_integer(kernel_[id]) == integer, fmt::format("%{} is of the wrong type", id));
    check(analysis.depends_only_on(id, bound),
          fmt::format("%{} uses a variable outside its loop", id));
  }

  /// Marks what a stage evaluates, and checks what depends on the stage. `bound` holds the
  /// variables of the loops around the expression.
  void reachable(const Stage& stage, const StageAnalysis& analysis, const VariableSet& bound,
                 ExprId id, std::vector<char>& seen) const {
    if (seen[id]) return;
    seen[id] = 1;
    const Expr& expr = kernel_[id];
    if (expr.kind == ExprKind::accumulator)
      check(stage.contraction && !stage.vector_reduce &&
                expr.integer < kernel_.packings.at(stage.contraction->packing).gates,
            fmt::format("%{} is an accumulator that the stage lacks", id));
    const auto variable = static_cast<VarId>(expr.integer);
    const bool binds = expr.kind == ExprKind::reduce;
    if (binds) {
      check(!stage.vector_reduce || expr.block == 0,
            fmt::format("%{} reduces in blocks and over lanes", id));
      check(!bound.contains(variable),
            fmt::format("%{} reuses the variable of a loop around it", id));
      for (int i : {0, 1})
        check(!analysis.depends(expr.operands[i], variable),
              fmt::format("%{} has bounds that depend on its own variable", id));
    }
    VariableSet inner = bound;
    if (binds) inner.insert(variable);
    for (int i = 0; i < 4; ++i)
      if (const ExprId operand = expr.operands[i]; operand >= 0)
        reachable(stage, analysis, binds && i >= 2 ? inner : bound, operand, seen);
  }

  void contraction(const Stage& stage, const StageAnalysis& analysis,
                   std::vector<char>& seen) const {
    const Contraction& contraction = *stage.contraction;
    check(stage.rows != RowDomain::once, "a contraction needs rows");
    check(
        contraction.packing >= 0 && contraction.packing < static_cast<int>(kernel_.packings.size()),
        "the packing does not exist");
    const Packing& packing = kernel_.packings[contraction.packing];
    check(stage.extents.size() == 1 && stage.extents[0] == packing.gate_length(),
          "a contraction's domain is the gate length");
    check(is_float(contraction.weights) &&
              kernel_.buffers[contraction.weights].role == BufferRole::packed &&
              kernel_.buffers[contraction.weights].a == contraction.packing,
          "the weights are not the buffer of the packing");
    VariableSet row(kernel_.variables);
    row.insert(stage.row);
    std::int64_t k = 0;
    for (const Contraction::Term& term : contraction.terms) {
      check(is_float(term.x), "a term reads no float buffer");
      check(term.k_begin == k && term.k_length > 0, "the terms do not cover k in order");
      k += term.k_length;
      root(term.address, true, row, analysis);
      reachable(stage, analysis, row, term.address, seen);
    }
    check(k == packing.k, "the terms do not cover k");
  }

  const Kernel& kernel_;
  std::string place_;
};

}  // namespace

void verify_kernel(const Kernel& kernel) { Verifier(kernel).run(); }

}  // namespace espalier::codegen
