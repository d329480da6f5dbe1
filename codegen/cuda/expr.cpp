// Printing of expressions: each value that is no literal becomes a constant named after its number,
// f12 or n12, in the innermost scope that knows its variables.
#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "codegen/cuda/emitter.h"

namespace espalier::codegen {

namespace {

constexpr std::int64_t narrow_limit = std::numeric_limits<std::int32_t>::max();

bool is_narrow(std::int64_t bound) { return bound <= narrow_limit && bound >= -narrow_limit; }

std::string float_literal(float x) {
  if (std::isnan(x)) return "__int_as_float(0x7fffffff)";
  if (std::isinf(x)) return x < 0 ? "__int_as_float(0xff800000)" : "__int_as_float(0x7f800000)";
  return fmt::format("{:a}f", x);
}

}  // namespace

/// Whether an integer expression needs 64 bits.
bool CudaEmitter::is_wide(ExprId id) const { return !is_narrow(analysis_.bound(id)); }

bool CudaEmitter::is_wide_variable(VarId variable) const {
  return !is_narrow(variable_bounds_[variable]);
}

void CudaEmitter::remember(ExprId id, std::string text) {
  values_[id] = std::move(text);
  undo_.push_back(id);
}

std::string CudaEmitter::value(ExprId id) {
  if (!values_[id].empty()) return values_[id];
  const Expr& expr = kernel_[id];
  if (expr.kind == ExprKind::integer)
    return fmt::format("{}{}", expr.integer, is_wide(id) ? "ll" : "");
  if (expr.kind == ExprKind::variable) {
    const auto variable = static_cast<VarId>(expr.integer);
    internal_check(bound_.contains(variable), "v{} is not bound", variable);
    return fmt::format("v{}", variable);
  }
  if (expr.kind == ExprKind::scalar && expr.opcode == ir::Opcode::constant)
    return float_literal(static_cast<float>(expr.number));
  if (expr.kind == ExprKind::reduce) {
    reduce(id);
    remember(id, fmt::format("f{}", id));
    return values_[id];
  }
  const std::string right = compute(id);
  const bool integer = is_integer(expr);
  std::string name = fmt::format("{}{}", integer ? 'n' : 'f', id);
  const std::string_view type = !integer ? "float" : is_wide(id) ? "i64" : "int";
  line("const {} {} = {};", type, name, right);
  remember(id, name);
  return name;
}

std::string CudaEmitter::element(BufferId buffer, ExprId address) {
  return fmt::format("b{}[{}]", buffer, value(address));
}

std::string CudaEmitter::compute(ExprId id) {
  const Expr& expr = kernel_[id];
  switch (expr.kind) {
    case ExprKind::integer:
    case ExprKind::variable:
    case ExprKind::reduce:
      break;
    case ExprKind::load_index:
    case ExprKind::load: {
      std::string at = element(expr.buffer, expr.operands[0]);
      return kernel_.buffers[expr.buffer].bf16 ? fmt::format("from_bf16({})", at) : at;
    }
    case ExprKind::iadd:
    case ExprKind::imul:
    case ExprKind::idiv:
    case ExprKind::imod:
    case ExprKind::imin:
      return integer(id, expr);
    case ExprKind::scalar:
      return scalar(expr);
    case ExprKind::accumulator: {
      const Packing& packing = kernel_.packings[stage_.contraction->packing];
      return fmt::format("sums[{}]", expr.integer * packing.lanes);
    }
    case ExprKind::to_float:
      return fmt::format("static_cast<float>({})", value(expr.operands[0]));
    case ExprKind::random: {
      const std::string key = element(expr.buffer, expr.operands[0]);
      return fmt::format("random_uniform({}, {}u, static_cast<u32>({}))", key,
                         static_cast<std::uint32_t>(expr.integer), value(expr.operands[1]));
    }
  }
  throw InternalError("an expression of no kind");
}

/// Sums and products in as many bits as the widest of operands and result.
std::string CudaEmitter::integer(ExprId id, const Expr& expr) {
  bool wide = is_wide(id);
  for (ExprId operand : expr.operands) wide |= operand >= 0 && is_wide(operand);
  const auto operand = [&](int i) {
    const std::string text = value(expr.operands[i]);
    const bool widen = wide && !is_wide(expr.operands[i]);
    return widen ? fmt::format("static_cast<i64>({})", text) : text;
  };
  const std::string_view bits = wide ? "ll" : "";
  std::string text;
  switch (expr.kind) {
    case ExprKind::iadd:
      text = operand(0);
      text = fmt::format("{} + {}", text, operand(1));
      break;
    case ExprKind::imul:
      text = fmt::format("{} * {}{}", operand(0), expr.integer, bits);
      break;
    case ExprKind::idiv:
    case ExprKind::imod:  // cheaper unsigned, and the operand is not negative
      text = fmt::format("static_cast<{}>({}) {} {}u{}", wide ? "u64" : "u32", operand(0),
                         expr.kind == ExprKind::idiv ? '/' : '%', expr.integer, bits);
      break;
    case ExprKind::imin:
      text = operand(0);
      text = fmt::format("{0} < {1} ? {0} : {1}", text, operand(1));
      break;
    default:
      throw InternalError("no integer operation");
  }
  return wide && !is_wide(id) ? fmt::format("static_cast<int>({})", text) : text;
}

std::string CudaEmitter::scalar(const Expr& expr) {
  std::string x[3];
  for (int i = 0; i < 3; ++i)
    if (expr.operands[i] >= 0) x[i] = value(expr.operands[i]);
  switch (expr.opcode) {
    case ir::Opcode::constant:
      return float_literal(static_cast<float>(expr.number));
    case ir::Opcode::add:
      return x[0] + " + " + x[1];
    case ir::Opcode::sub:
      return x[0] + " - " + x[1];
    case ir::Opcode::mul:
      return x[0] + " * " + x[1];
    case ir::Opcode::div:
      return x[0] + " / " + x[1];
    case ir::Opcode::neg:
      return "-" + (x[0].starts_with('-') ? "(" + x[0] + ")" : x[0]);
    case ir::Opcode::abs:
      return "fabsf(" + x[0] + ")";
    case ir::Opcode::max:
      return fmt::format("{0} < {1} ? {1} : {0}", x[0], x[1]);
    case ir::Opcode::min:
      return fmt::format("{1} < {0} ? {1} : {0}", x[0], x[1]);
    case ir::Opcode::exp:
      return "expf(" + x[0] + ")";
    case ir::Opcode::log:
      return "logf(" + x[0] + ")";
    case ir::Opcode::sqrt:
      return "sqrtf(" + x[0] + ")";
    case ir::Opcode::tanh:
      return "tanhf(" + x[0] + ")";
    case ir::Opcode::less:
      return fmt::format("{} < {} ? 1.0f : 0.0f", x[0], x[1]);
    case ir::Opcode::equal:
      return fmt::format("{} == {} ? 1.0f : 0.0f", x[0], x[1]);
    case ir::Opcode::select:
      return fmt::format("{} != 0.0f ? {} : {}", x[0], x[1], x[2]);
  }
  throw InternalError("a scalar operation without an opcode");
}

bool CudaEmitter::shared_reduce(const Expr& expr) const {
  if (in_reduce_ || team_.members == 1) return false;
  const bool known = kernel_[expr.operands[0]].kind == ExprKind::integer &&
                     kernel_[expr.operands[1]].kind == ExprKind::integer;
  return stage_.vector_reduce || !known;
}

/// A loop with an accumulator; where a team shares it, each member takes every n-th element,
/// and a tree joins what they have: a fixed order for a number of elements.
void CudaEmitter::reduce(ExprId id) {
  const Expr& expr = kernel_[id];
  const bool is_max = expr.reduction == Reduction::max, shared = shared_reduce(expr);
  const std::string begin = value(expr.operands[0]), end = value(expr.operands[1]);
  std::vector<ExprId> body{expr.operands[2]};
  if (expr.reduction == Reduction::fma) body.push_back(expr.operands[3]);
  hoist(body);
  const bool wide = expr.reduction == Reduction::wide_sum;
  const std::string result = fmt::format("{}{}", wide ? "wide" : "f", id);
  if (wide)
    line("double {} = 0.0;", result);
  else
    line("float {} = {};", result, is_max ? "-0x1.fffffep+127f" : "0.0f");
  const bool outer = std::exchange(in_reduce_, true);
  const std::string_view type = index_type(expr);
  if (shared) {
    reduce_loop(expr, result, begin + " + member", end, "members");
  } else if (expr.block == 0) {
    reduce_loop(expr, result, begin, end, "1");
  } else {
    block(fmt::format("for ({0} from{1} = {2}; from{1} < {3}; from{1} += {4}) {{", type, id, begin,
                      end, expr.block),
          [&] {
            line("const {0} to{1} = from{1} + {2} < {3} ? from{1} + {2} : {3};", type, id,
                 expr.block, end);
            line("float part{} = 0.0f;", id);
            reduce_loop(expr, fmt::format("part{}", id), fmt::format("from{}", id),
                        fmt::format("to{}", id), "1");
            line("{} += part{};", result, id);
          });
  }
  in_reduce_ = outer;
  if (shared)
    line("{0} = {1}_{2}<{3}>({0});", result, team_.by_block ? "block" : "lanes",
         is_max ? "max" : "sum", team_.by_block ? team_.slots : team_.members);
  if (wide) line("const float f{} = static_cast<float>({});", id, result);
}

std::string_view CudaEmitter::index_type(const Expr& reduction) const {
  return is_wide_variable(static_cast<VarId>(reduction.integer)) ? "i64" : "int";
}

void CudaEmitter::reduce_loop(const Expr& expr, const std::string& result, const std::string& begin,
                              const std::string& end, const std::string& step) {
  const auto variable = static_cast<VarId>(expr.integer);
  block(fmt::format("for ({0} v{1} = {2}; v{1} < {3}; v{1} += {4}) {{", index_type(expr), variable,
                    begin, end, step),
        [&] {
          bind(variable);
          const std::string x = value(expr.operands[2]);
          switch (expr.reduction) {
            case Reduction::sum:
            case Reduction::wide_sum:
              line("{} += {};", result, x);
              break;
            case Reduction::max:
              line("{0} = maximum({0}, {1});", result, x);
              break;
            case Reduction::fma:
              line("{0} = fmaf({1}, {2}, {0});", result, x, value(expr.operands[3]));
              break;
          }
        });
}

void CudaEmitter::hoist(const std::vector<ExprId>& roots) {
  std::vector<bool> seen(kernel_.exprs.size());
  for (ExprId root : roots) hoist(root, seen);
}

/// Before a loop: prints here what the roots need that depends on none of the loop's variables.
void CudaEmitter::hoist(ExprId id, std::vector<bool>& seen) {
  if (seen[id]) return;
  seen[id] = true;
  if (analysis_.depends_only_on(id, bound_)) {
    value(id);
    return;
  }
  for (ExprId operand : kernel_[id].operands)
    if (operand >= 0) hoist(operand, seen);
}

}  // namespace espalier::codegen
