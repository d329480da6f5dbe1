#include "codegen/kernel/verify_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "base/error.h"
#include "codegen/kernel/analysis.h"

namespace espalier::codegen {
namespace {

/// Elements of a row, as bits.
using Elements = std::vector<bool>;

class MemoryVerifier {
 public:
  explicit MemoryVerifier(const Kernel& kernel)
      : kernel_(kernel), has_rows_(kernel.buffers.size()), stored_(kernel.buffers.size()) {
    for (const Stage& stage : kernel.stages)
      for (const Store& store : stage.stores) {
        const Buffer& buffer = kernel.buffers[std::size_t(store.buffer)];
        has_rows_[std::size_t(store.buffer)] =
            buffer.row_elements > 0 && buffer.role != BufferRole::param_gradient;
        stored_[std::size_t(store.buffer)].resize(std::size_t(buffer.row_elements));
      }
    for (std::size_t i = 0; i < kernel.buffers.size(); ++i) {
      const Buffer& buffer = kernel.buffers[i];
      // Their rows hold nothing before the kernel has stored them.
      if (buffer.row_elements > 0 &&
          (buffer.role == BufferRole::scratch || buffer.role == BufferRole::partial)) {
        has_rows_[i] = true;
        stored_[i].resize(std::size_t(buffer.row_elements));
      }
    }
    for (const Expr& expr : kernel.exprs) {
      if (expr.kind != ExprKind::reduce) continue;
      const std::pair bounds(expr.operands[0], expr.operands[1]);
      const auto [loop, fresh] = loops_.emplace(VarId(expr.integer), bounds);
      if (!fresh && loop->second != bounds) loop->second = {-1, -1};
    }
  }

  void run() {
    for (std::size_t i = 0; i < kernel_.stages.size(); ++i) {
      place_ = fmt::format("stage {}", i);
      stage(kernel_.stages[i]);
    }
  }

 private:
  void check(bool condition, std::string_view what) const {
    internal_check(condition, "kernel '{}', {}: {}", kernel_.name, place_, what);
  }

  void stage(const Stage& stage) {
    stage_ = &stage;
    const StageAnalysis analysis(kernel_, stage);
    analysis_ = &analysis;
    std::map<BufferId, Elements> stores;
    for (const Store& store : stage.stores)
      if (has_rows_[std::size_t(store.buffer)]) {
        const Elements elements = elements_at(store.buffer, store.address, 1, false);
        Elements& all = stores[store.buffer];
        all.resize(elements.size());
        for (std::size_t e = 0; e < elements.size(); ++e) {
          check(!(all[e] && elements[e]),
                fmt::format("element {} of a row of buffer {} is stored twice", e, store.buffer));
          if (elements[e]) all[e] = true;
        }
      }
    for (const ExprId id : loads()) {
      const Expr& load = kernel_[id];
      const auto same_element = [&](const Store& store) {
        return store.buffer == load.buffer && store.address == load.operands[0];
      };
      read(fmt::format("%{}", id), load.buffer, load.operands[0], 1, stores,
           std::ranges::any_of(stage.stores, same_element));
    }
    if (stage.contraction)
      for (const Contraction::Term& term : stage.contraction->terms)
        read("a term", term.x, term.address, term.k_length, stores, false);
    if (stage.rows == RowDomain::padding) return;  // rows behind those that are read
    for (const auto& [buffer, elements] : stores)
      for (std::size_t e = 0; e < elements.size(); ++e)
        if (elements[e]) stored_[std::size_t(buffer)][e] = true;
  }

  /// `count` elements from `address` on are read; `replaced`: they are what the stage stores there.
  void read(const std::string& reader, BufferId buffer, ExprId address, std::int64_t count,
            const std::map<BufferId, Elements>& stores, bool replaced) {
    if (!has_rows_[std::size_t(buffer)]) {
      const auto stored = [&](const Store& store) { return store.buffer == buffer; };
      check(replaced || std::ranges::none_of(stage_->stores, stored),
            reader + " reads what the stage stores");
      return;
    }
    const Elements elements = elements_at(buffer, address, count, count == 1);
    const auto now = stores.find(buffer);
    for (std::size_t e = 0; e < elements.size(); ++e) {
      if (!elements[e]) continue;
      check(replaced || now == stores.end() || !now->second[e],
            fmt::format("{} reads element {} of buffer {}, which the stage stores", reader, e,
                        buffer));
      check(stored_[std::size_t(buffer)][e],
            fmt::format("{} reads element {} of buffer {}, which no stage before has stored",
                        reader, e, buffer));
    }
  }

  /// The loads that the stage evaluates.
  std::vector<ExprId> loads() const {
    std::vector<char> seen(kernel_.exprs.size());
    for (const Store& store : stage_->stores) seen[std::size_t(store.value)] = 1;
    std::vector<ExprId> result;
    for (ExprId id = ExprId(kernel_.exprs.size()) - 1; id >= 0; --id) {
      if (!seen[std::size_t(id)]) continue;
      for (const ExprId operand : kernel_[id].operands)
        if (operand >= 0) seen[std::size_t(operand)] = 1;
      if (kernel_[id].kind == ExprKind::load) result.push_back(id);
    }
    return result;
  }

  /// An integer expression where the variables in `at_` are fixed: Σ factor · atom + constant. An
  /// atom is a row: a variable, or an index loaded.
  struct Linear {
    std::map<ExprId, std::int64_t> factors;
    std::int64_t constant = 0;
  };

  Linear evaluate(ExprId id) const {
    const Expr& expr = kernel_[id];
    Linear result;
    switch (expr.kind) {
      case ExprKind::integer:
        result.constant = expr.integer;
        return result;
      case ExprKind::variable:
        if (const auto fixed = at_.find(VarId(expr.integer)); fixed != at_.end())
          result.constant = fixed->second;
        else
          result.factors[id] = 1;
        return result;
      case ExprKind::load_index:
        result.factors[id] = 1;
        return result;
      case ExprKind::iadd: {
        result = evaluate(expr.operands[0]);
        const Linear other = evaluate(expr.operands[1]);
        result.constant += other.constant;
        for (const auto& [atom, factor] : other.factors) result.factors[atom] += factor;
        return result;
      }
      case ExprKind::imul:
        result = evaluate(expr.operands[0]);
        result.constant *= expr.integer;
        for (auto& [atom, factor] : result.factors) factor *= expr.integer;
        return result;
      case ExprKind::idiv:
      case ExprKind::imod: {
        const Linear of = evaluate(expr.operands[0]);
        if (!of.factors.empty())
          result.factors[id] = 1;  // of an index that chooses
        else
          result.constant =
              expr.kind == ExprKind::idiv ? of.constant / expr.integer : of.constant % expr.integer;
        return result;
      }
      default:
        check(false, fmt::format("%{} is no address", id));
    }
    return result;
  }

  /// Which elements of a row lie at the address and the `count` − 1 behind it, over all
  /// coordinates.
  /// `chosen`: an index from memory may choose among the elements.
  Elements elements_at(BufferId buffer, ExprId address, std::int64_t count, bool chosen) {
    const Buffer& of = kernel_.buffers[std::size_t(buffer)];
    Elements result(std::size_t(of.row_elements));
    std::vector<std::pair<VarId, std::int64_t>> fixed;  // variables of known extent
    for (std::size_t axis = 0; axis < stage_->extents.size(); ++axis)
      fixed.emplace_back(stage_->variables[axis], stage_->extents[axis]);
    for (const auto& [variable, bounds] : loops_) {
      const auto [begin, end] = bounds;
      if (begin >= 0 && kernel_[begin].kind == ExprKind::integer && kernel_[begin].integer == 0 &&
          kernel_[end].kind == ExprKind::integer)
        fixed.emplace_back(variable, kernel_[end].integer);
    }
    std::erase_if(fixed, [&](const auto& v) { return !analysis_->depends(address, v.first); });
    at_.clear();
    for (const auto& [variable, extent] : fixed) {
      if (extent <= 0) return result;
      at_[variable] = 0;
    }
    while (true) {
      const Linear linear = evaluate(address);
      std::int64_t step = 0;
      for (const auto& [atom, factor] : linear.factors) {
        if (factor % of.row_elements != 0) step = std::gcd(step, factor);
        if (factor == of.row_elements && linear.factors.size() == 1) row(of, atom);
      }
      check(linear.constant >= 0 && linear.constant + count <= of.row_elements,
            fmt::format("%{} leaves its row of {} elements", address, of.row_elements));
      for (std::int64_t e = 0; e < count; ++e) result[std::size_t(linear.constant + e)] = true;
      if (step > 0) {
        check(chosen, fmt::format("%{} is no element of rows of {}", address, of.row_elements));
        // An index chooses: how far, the recorder checks. What lies there, up to the first gap.
        const Elements& stored = stored_[std::size_t(buffer)];
        for (std::int64_t e = linear.constant; e < of.row_elements && stored[std::size_t(e)];
             e += step)
          result[std::size_t(e)] = true;
      }
      std::size_t axis = 0;
      for (; axis < fixed.size(); ++axis) {
        if (++at_[fixed[axis].first] < fixed[axis].second) break;
        at_[fixed[axis].first] = 0;
      }
      if (axis == fixed.size()) return result;
    }
  }

  /// Checks that the atom counts rows of the buffer's kind, where both are known.
  void row(const Buffer& buffer, ExprId atom) const {
    if (buffer.role != BufferRole::scratch && buffer.role != BufferRole::residual &&
        buffer.role != BufferRole::contribution)
      return;
    const std::optional<int> counted = rows_of(atom);
    check(!counted || *counted == buffer.children,
          fmt::format("%{} counts rows of port {}, the buffer those of port {}", atom,
                      counted.value_or(0), buffer.children));
  }

  /// The Children port whose elements an atom counts, or per_instance; nothing if that is unknown.
  std::optional<int> rows_of(ExprId atom) const {
    const Expr& expr = kernel_[atom];
    if (expr.kind == ExprKind::load_index)
      return kernel_.buffers[std::size_t(expr.buffer)].role == BufferRole::port_owners
                 ? std::optional<int>(ir::per_instance)
                 : std::nullopt;
    const auto variable = VarId(expr.integer);
    if (variable == stage_->row) {
      if (stage_->rows == RowDomain::instances) return ir::per_instance;
      if (stage_->rows == RowDomain::children) return stage_->port;
      return std::nullopt;
    }
    const auto found = loops_.find(variable);
    if (found == loops_.end() || found->second.second < 0) return std::nullopt;
    const Expr& end = kernel_[found->second.second];
    if (end.kind != ExprKind::load_index) return std::nullopt;
    const Buffer& bounds = kernel_.buffers[std::size_t(end.buffer)];
    if (bounds.role == BufferRole::port_offsets || bounds.role == BufferRole::row_count)
      return bounds.a;
    return std::nullopt;
  }

  const Kernel& kernel_;
  std::vector<bool> has_rows_;    // by buffer: whether this check follows it
  std::vector<Elements> stored_;  // by buffer: by the stages before
  /// The bounds of the reductions over a variable; −1 where they differ.
  std::map<VarId, std::pair<ExprId, ExprId>> loops_;
  std::string place_;
  const Stage* stage_ = nullptr;
  const StageAnalysis* analysis_ = nullptr;
  std::map<VarId, std::int64_t> at_;
};

}  // namespace

void verify_memory(const Kernel& kernel) { MemoryVerifier(kernel).run(); }

}  // namespace espalier::codegen
