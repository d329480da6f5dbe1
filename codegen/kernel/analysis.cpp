#include "codegen/kernel/analysis.h"

#include <algorithm>

namespace espalier::codegen {

namespace {

constexpr std::int64_t row_bound = std::numeric_limits<std::int32_t>::max();

std::int64_t saturating_product(std::int64_t a, std::int64_t b) {
  std::int64_t product;
  if (a == StageAnalysis::unbounded || b < 0) return StageAnalysis::unbounded;
  return __builtin_mul_overflow(a, b, &product) ? StageAnalysis::unbounded : product;
}

std::int64_t saturating_sum(std::int64_t a, std::int64_t b) {
  std::int64_t sum;
  if (a == StageAnalysis::unbounded || b == StageAnalysis::unbounded)
    return StageAnalysis::unbounded;
  return __builtin_add_overflow(a, b, &sum) ? StageAnalysis::unbounded : sum;
}

}  // namespace

bool is_integer(const Expr& expr) { return expr.kind <= ExprKind::imin; }

StageAnalysis::StageAnalysis(const Kernel& kernel, const Stage& stage) : stage_(stage) {
  find_evaluated(kernel);
  number_variables(kernel);
  std::vector<std::int64_t> variables(kernel.variables, row_bound);
  for (std::size_t axis = 0; axis < stage.extents.size(); ++axis)
    variables[stage.variables[axis]] = stage.extents[axis] - 1;
  std::vector<bool> known(kernel.variables, false);
  for (const ExprId id : evaluated_) {
    const Expr& expr = kernel[id];
    if (expr.kind != ExprKind::reduce) continue;
    const Expr& end = kernel[expr.operands[1]];
    const std::int64_t last = end.kind == ExprKind::integer ? end.integer - 1 : row_bound;
    std::int64_t& bound = variables[expr.integer];
    bound = known[expr.integer] ? std::max(bound, last) : last;
    known[expr.integer] = true;
  }
  for (std::int64_t& last : variables)
    if (last < 0) last = row_bound;  // of an empty loop
  words_.resize(evaluated_.size() * stride_);
  bounds_.resize(evaluated_.size(), unbounded);
  for (std::size_t slot = 0; slot < evaluated_.size(); ++slot) {
    const ExprId id = evaluated_[slot];
    find_variables(id, kernel[id]);
    bounds_[slot] = find_bound(kernel[id], variables);
  }
}

/// Ids that do not exist are left to the verifier.
void StageAnalysis::find_evaluated(const Kernel& kernel) {
  slots_.assign(kernel.exprs.size(), -1);
  std::vector<ExprId> waiting;
  for (const Store& store : stage_.stores) {
    waiting.push_back(store.address);
    waiting.push_back(store.value);
  }
  if (stage_.contraction)
    for (const Contraction::Term& term : stage_.contraction->terms) waiting.push_back(term.address);
  while (!waiting.empty()) {
    const ExprId id = waiting.back();
    waiting.pop_back();
    if (id < 0 || id >= static_cast<ExprId>(kernel.exprs.size()) || slots_[id] >= 0) continue;
    slots_[id] = 0;
    evaluated_.push_back(id);
    waiting.insert(waiting.end(), kernel[id].operands.begin(), kernel[id].operands.end());
  }
  std::ranges::sort(evaluated_);
  for (std::size_t slot = 0; slot < evaluated_.size(); ++slot)
    slots_[evaluated_[slot]] = static_cast<std::int32_t>(slot);
}

void StageAnalysis::number_variables(const Kernel& kernel) {
  bits_.assign(kernel.variables, -1);
  const auto add = [&](std::int64_t variable) {
    if (variable < 0 || bits_[variable] >= 0) return;
    bits_[variable] = static_cast<std::int32_t>(variables_.size());
    variables_.push_back(static_cast<VarId>(variable));
  };
  add(stage_.row);
  for (const VarId variable : stage_.variables) add(variable);
  for (const ExprId id : evaluated_)
    if (kernel[id].kind == ExprKind::variable || kernel[id].kind == ExprKind::reduce)
      add(kernel[id].integer);
  stride_ = (variables_.size() + 63) / 64;
}

void StageAnalysis::find_variables(ExprId id, const Expr& expr) {
  std::uint64_t* words = words_.data() + slots_[id] * stride_;
  const auto add = [&](ExprId operand) {
    if (operand < 0) return;
    for (std::size_t i = 0; i < stride_; ++i) words[i] |= words_[slots_[operand] * stride_ + i];
  };
  const auto bit_of = [&](std::int64_t v) { return std::uint64_t{1} << (bits_[v] % 64); };
  const auto add_variable = [&](std::int64_t v) { words[bits_[v] / 64] |= bit_of(v); };
  if (expr.kind == ExprKind::reduce) {
    add(expr.operands[2]);
    add(expr.operands[3]);
    words[bits_[expr.integer] / 64] &= ~bit_of(expr.integer);
    add(expr.operands[0]);
    add(expr.operands[1]);
    return;
  }
  if (expr.kind == ExprKind::variable) add_variable(expr.integer);
  if (expr.kind == ExprKind::accumulator) {
    if (stage_.row >= 0) add_variable(stage_.row);
    for (VarId v : stage_.variables) add_variable(v);
  }
  for (ExprId operand : expr.operands) add(operand);
}

bool StageAnalysis::depends_only_on(ExprId expr, const VariableSet& bound) const {
  if (slots_[expr] < 0) return true;
  for (std::size_t i = 0; i < variables_.size(); ++i)
    if (((words_[slots_[expr] * stride_ + i / 64] >> (i % 64)) & 1) &&
        !bound.contains(variables_[i]))
      return false;
  return true;
}

std::int64_t StageAnalysis::find_bound(const Expr& expr,
                                       const std::vector<std::int64_t>& variables) const {
  const auto operand = [&](int i) { return bounds_[slots_[expr.operands[i]]]; };
  switch (expr.kind) {
    case ExprKind::integer:
      return expr.integer;
    case ExprKind::variable:
      return variables[expr.integer];
    case ExprKind::load_index:
      return row_bound;
    case ExprKind::iadd:
      return saturating_sum(operand(0), operand(1));
    case ExprKind::imul:
      return saturating_product(operand(0), expr.integer);
    case ExprKind::idiv:
      return operand(0) == unbounded ? unbounded : operand(0) / expr.integer;
    case ExprKind::imod:
      return std::min(operand(0), expr.integer - 1);
    case ExprKind::imin:
      return std::min(operand(0), operand(1));
    case ExprKind::scalar:
    case ExprKind::load:
    case ExprKind::accumulator:
    case ExprKind::to_float:
    case ExprKind::random:
    case ExprKind::reduce:
      break;
  }
  return unbounded;
}

std::vector<std::optional<std::int64_t>> strides(const Kernel& kernel,
                                                 const StageAnalysis& analysis, VarId variable) {
  std::vector<std::optional<std::int64_t>> result(kernel.exprs.size());
  for (ExprId id = 0; id < static_cast<ExprId>(kernel.exprs.size()); ++id) {
    const Expr& expr = kernel[id];
    if (!is_integer(expr)) continue;
    if (!analysis.depends(id, variable)) {
      result[id] = 0;
    } else if (expr.kind == ExprKind::variable) {
      result[id] = 1;
    } else if (expr.kind == ExprKind::iadd) {
      const auto a = result[expr.operands[0]], b = result[expr.operands[1]];
      if (a && b) result[id] = *a + *b;
    } else if (expr.kind == ExprKind::imul) {
      if (const auto a = result[expr.operands[0]]) result[id] = *a * expr.integer;
    }
  }
  return result;
}

std::optional<std::pair<std::int64_t, std::int64_t>> range_in_first_row(const Kernel& kernel,
                                                                        const Stage& stage,
                                                                        ExprId id) {
  using Range = std::optional<std::pair<std::int64_t, std::int64_t>>;
  const Expr& expr = kernel[id];
  const auto operand = [&](int i) { return range_in_first_row(kernel, stage, expr.operands[i]); };
  if (expr.kind == ExprKind::integer) return Range{{expr.integer, expr.integer}};
  if (expr.kind == ExprKind::variable) {
    if (expr.integer == stage.row) return Range{{0, 0}};
    const auto found = std::ranges::find(stage.variables, static_cast<VarId>(expr.integer));
    if (found == stage.variables.end()) return {};
    return Range{{0, stage.extents[found - stage.variables.begin()] - 1}};
  }
  if (expr.kind == ExprKind::iadd) {
    const Range a = operand(0), b = operand(1);
    if (a && b) return Range{{a->first + b->first, a->second + b->second}};
  } else if (expr.kind == ExprKind::imul && expr.integer >= 0) {
    if (const Range a = operand(0))
      return Range{{a->first * expr.integer, a->second * expr.integer}};
  } else if (expr.kind == ExprKind::idiv) {
    if (const Range a = operand(0))
      return Range{{a->first / expr.integer, a->second / expr.integer}};
  } else if (expr.kind == ExprKind::imod) {
    if (operand(0)) return Range{{0, expr.integer - 1}};
  }
  return {};
}

std::optional<OuterProduct> match_outer_product(const Kernel& kernel, const Stage& stage,
                                                const StageAnalysis& analysis) {
  if ((stage.rows != RowDomain::once && stage.rows != RowDomain::parts) ||
      stage.extents.size() != 2 || stage.contraction || stage.vector_reduce ||
      stage.stores.size() != 1)
    return std::nullopt;
  const VarId i = stage.variables[0], j = stage.variables[1];
  const Store& store = stage.stores[0];
  OuterProduct result{.sum = store.value};
  if (const Expr& value = kernel[store.value];
      value.kind == ExprKind::scalar && value.opcode == ir::Opcode::add) {
    const auto [a, b, c, d] = value.operands;
    const bool first = kernel[a].kind == ExprKind::load;
    result.previous = first ? a : b;
    result.sum = first ? b : a;
    const Expr& previous = kernel[result.previous];
    if (previous.kind != ExprKind::load || previous.buffer != store.buffer ||
        previous.operands[0] != store.address)
      return std::nullopt;
  }
  const Expr& sum = kernel[result.sum];
  if (sum.kind != ExprKind::reduce || sum.reduction != Reduction::fma || sum.block == 0)
    return std::nullopt;
  for (int bound : {0, 1})
    for (VarId v : {i, j})
      if (analysis.depends(sum.operands[bound], v)) return std::nullopt;
  result.left = sum.operands[2];
  result.right = sum.operands[3];
  const Expr &left = kernel[result.left], &right = kernel[result.right];
  if (left.kind != ExprKind::load || right.kind != ExprKind::load) return std::nullopt;
  const auto by_i = strides(kernel, analysis, i), by_j = strides(kernel, analysis, j);
  if (!by_i[left.operands[0]] || by_j[left.operands[0]] != 0 || by_i[right.operands[0]] != 0 ||
      by_j[right.operands[0]] != 1 || !by_i[store.address] || by_j[store.address] != 1)
    return std::nullopt;
  return result;
}

}  // namespace espalier::codegen
