#include "codegen/kernel/interpreter.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "codegen/kernel/analysis.h"

namespace espalier::codegen {

namespace {

class Interpreter {
 public:
  Interpreter(const Kernel& kernel, const Stage& stage, void* const* buffers,
              InterpreterOptions options)
      : kernel_(kernel),
        stage_(stage),
        buffers_(buffers),
        options_(options),
        analysis_(kernel, stage),
        variables_(kernel.variables),
        assigned_(kernel.variables),
        memo_(kernel.exprs.size()) {}

  void run(std::int64_t row_begin, std::int64_t row_end) {
    if (stage_.rows == RowDomain::once) return axis(0);
    for (std::int64_t row = row_begin; row < row_end; ++row) {
      assign(stage_.row, row);
      axis(0);
    }
  }

 private:
  struct Memo {
    std::int64_t integer = 0;
    float number = 0;
    std::int64_t time = -1;
  };

  template <class T>
  T* buffer(BufferId id) const {
    return static_cast<T*>(buffers_[id]);
  }

  float load(BufferId id, std::int64_t at) const {
    if (kernel_.buffers[std::size_t(id)].bf16) return from_bf16(buffer<std::uint16_t>(id)[at]);
    return buffer<float>(id)[at];
  }

  void assign(VarId variable, std::int64_t value) {
    variables_[variable] = value;
    assigned_[variable] = ++now_;
  }

  void axis(std::size_t i) {
    if (i == stage_.extents.size()) return stores();
    for (std::int64_t x = 0; x < stage_.extents[i]; ++x) {
      assign(stage_.variables[i], x);
      axis(i + 1);
    }
  }

  void stores() {
    coordinate_ = ++now_;
    for (const Store& store : stage_.stores) {
      const float value = number(store.value);
      if (kernel_.buffers[std::size_t(store.buffer)].bf16)
        buffer<std::uint16_t>(store.buffer)[integer(store.address)] = to_bf16(value);
      else
        buffer<float>(store.buffer)[integer(store.address)] = value;
    }
  }

  /// Whether the memo is of this coordinate and of the present values of the variables it depends
  /// on: those of reductions change within a coordinate.
  bool fresh(ExprId id) const {
    const std::int64_t time = memo_[id].time;
    if (time < coordinate_) return false;
    for (VarId v = 0; v < kernel_.variables; ++v)
      if (assigned_[v] > time && analysis_.depends(id, v)) return false;
    return true;
  }

  std::int64_t integer(ExprId id) {
    if (!fresh(id)) memo_[id] = {.integer = compute_integer(kernel_[id]), .time = now_};
    return memo_[id].integer;
  }

  float number(ExprId id) {
    if (!fresh(id)) memo_[id] = {.number = compute_number(kernel_[id]), .time = now_};
    return memo_[id].number;
  }

  std::int64_t compute_integer(const Expr& expr) {
    const auto operand = [&](int i) { return integer(expr.operands[i]); };
    switch (expr.kind) {
      case ExprKind::integer:
        return expr.integer;
      case ExprKind::variable:
        return variables_[expr.integer];
      case ExprKind::load_index:
        return buffer<std::int32_t>(expr.buffer)[operand(0)];
      case ExprKind::iadd:
        return operand(0) + operand(1);
      case ExprKind::imul:
        return operand(0) * expr.integer;
      case ExprKind::idiv:
        return operand(0) / expr.integer;
      case ExprKind::imod:
        return operand(0) % expr.integer;
      case ExprKind::imin:
        return std::min(operand(0), operand(1));
      default:
        return 0;
    }
  }

  float compute_number(const Expr& expr) {
    switch (expr.kind) {
      case ExprKind::scalar:
        return scalar(expr);
      case ExprKind::load:
        return load(expr.buffer, integer(expr.operands[0]));
      case ExprKind::accumulator:
        return accumulator(static_cast<int>(expr.integer));
      case ExprKind::to_float:
        return static_cast<float>(integer(expr.operands[0]));
      case ExprKind::random:
        return random_uniform(buffer<std::uint64_t>(expr.buffer)[integer(expr.operands[0])],
                              static_cast<std::uint32_t>(expr.integer),
                              static_cast<std::uint32_t>(integer(expr.operands[1])));
      case ExprKind::reduce:
        return reduce(expr);
      default:
        return 0;
    }
  }

  float scalar(const Expr& expr) {
    float x[3] = {};
    for (int i = 0; i < 3; ++i)
      if (expr.operands[i] >= 0) x[i] = number(expr.operands[i]);
    switch (expr.opcode) {
      case ir::Opcode::constant:
        return static_cast<float>(expr.number);
      case ir::Opcode::add:
        return x[0] + x[1];
      case ir::Opcode::sub:
        return x[0] - x[1];
      case ir::Opcode::mul:
        return x[0] * x[1];
      case ir::Opcode::div:
        return x[0] / x[1];
      case ir::Opcode::neg:
        return -x[0];
      case ir::Opcode::abs:
        return std::fabs(x[0]);
      case ir::Opcode::max:
        return x[0] < x[1] ? x[1] : x[0];
      case ir::Opcode::min:
        return x[1] < x[0] ? x[1] : x[0];
      case ir::Opcode::exp:
        return std::exp(x[0]);
      case ir::Opcode::log:
        return std::log(x[0]);
      case ir::Opcode::sqrt:
        return std::sqrt(x[0]);
      case ir::Opcode::tanh:
        return std::tanh(x[0]);
      case ir::Opcode::less:
        return x[0] < x[1] ? 1.0F : 0.0F;
      case ir::Opcode::equal:
        return x[0] == x[1] ? 1.0F : 0.0F;
      case ir::Opcode::select:
        return x[0] != 0 ? x[1] : x[2];
    }
    return 0;
  }

  float multiply_add(float a, float b, float c) const {
    return options_.fma ? std::fma(a, b, c) : a * b + c;
  }

  float reduce(const Expr& expr) {
    const std::int64_t begin = integer(expr.operands[0]), end = integer(expr.operands[1]);
    if (expr.block == 0) return reduce(expr, begin, end);
    float result = 0;
    for (std::int64_t x = begin; x < end; x += expr.block)
      result += reduce(expr, x, std::min(x + expr.block, end));
    return result;
  }

  float reduce(const Expr& expr, std::int64_t begin, std::int64_t end) {
    const auto variable = static_cast<VarId>(expr.integer);
    float result = expr.reduction == Reduction::max ? std::numeric_limits<float>::lowest() : 0.0F;
    double wide = 0;
    for (std::int64_t x = begin; x < end; ++x) {
      assign(variable, x);
      const float body = number(expr.operands[2]);
      switch (expr.reduction) {
        case Reduction::sum:
          result += body;
          break;
        case Reduction::max:
          result = result < body ? body : result;
          break;
        case Reduction::fma:
          result = multiply_add(body, number(expr.operands[3]), result);
          break;
        case Reduction::wide_sum:
          wide += double(body);
          break;
      }
    }
    return expr.reduction == Reduction::wide_sum ? static_cast<float>(wide) : result;
  }

  float accumulator(int gate) {
    const Contraction& contraction = *stage_.contraction;
    const Packing& packing = kernel_.packings[contraction.packing];
    const std::int64_t j = variables_[stage_.variables[0]];
    float sum = 0;
    for (const Contraction::Term& term : contraction.terms) {
      const std::int64_t first = integer(term.address);
      for (std::int64_t i = 0; i < term.k_length; ++i) {
        const std::int64_t k = term.k_begin + i;
        const std::int64_t position =
            ((j / packing.lanes * packing.k + k) * packing.gates + gate) * packing.lanes +
            j % packing.lanes;
        sum = multiply_add(load(contraction.weights, position), load(term.x, first + i), sum);
      }
    }
    return sum;
  }

  const Kernel& kernel_;
  const Stage& stage_;
  void* const* buffers_;
  InterpreterOptions options_;
  StageAnalysis analysis_;
  std::vector<std::int64_t> variables_;
  std::vector<std::int64_t> assigned_;  // when each variable last changed
  std::vector<Memo> memo_;
  std::int64_t now_ = 0, coordinate_ = 0;
};

}  // namespace

void interpret(const Kernel& kernel, int stage, void* const* buffers, std::int64_t row_begin,
               std::int64_t row_end, InterpreterOptions options) {
  Interpreter(kernel, kernel.stages[stage], buffers, options).run(row_begin, row_end);
}

}  // namespace espalier::codegen
