// What emitters, interpreter and verifier ask about a stage's expressions, computed once for all of
// them (shared subexpressions make walks of one expression slow): which variables an expression
// depends on, how large an integer can get, in which variables it is affine. The cost is linear in
// what the stage evaluates; the size of the kernel, which may have thousands of stages, adds
// little.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "codegen/kernel/kernel.h"

namespace espalier::codegen {

/// Loop variables, as bits.
class VariableSet {
 public:
  explicit VariableSet(int variables) : words_(static_cast<std::size_t>(variables + 63) / 64) {}
  bool contains(VarId v) const { return (words_[v / 64] >> (v % 64)) & 1; }
  void insert(VarId v) { words_[v / 64] |= std::uint64_t{1} << (v % 64); }

 private:
  std::vector<std::uint64_t> words_;
};

class StageAnalysis {
 public:
  StageAnalysis(const Kernel& kernel, const Stage& stage);

  /// All that the stage evaluates, operands before their users.
  const std::vector<ExprId>& evaluated() const { return evaluated_; }

  /// A reduction does not depend on its own variable; an accumulator depends on the stage's row and
  /// domain.
  bool depends(ExprId expr, VarId variable) const {
    const std::int32_t at = slots_[expr], bit = bits_[variable];
    return at >= 0 && bit >= 0 && ((words_[at * stride_ + bit / 64] >> (bit % 64)) & 1);
  }
  /// Whether the expression depends on no variable but those in `bound`.
  bool depends_only_on(ExprId expr, const VariableSet& bound) const;

  static constexpr std::int64_t unbounded = std::numeric_limits<std::int64_t>::max();
  /// An integer expression's value is at most this. Row numbers fit 31 bits.
  std::int64_t bound(ExprId expr) const {
    return slots_[expr] >= 0 ? bounds_[slots_[expr]] : unbounded;
  }

 private:
  void find_evaluated(const Kernel& kernel);
  void number_variables(const Kernel& kernel);
  void find_variables(ExprId id, const Expr& expr);
  std::int64_t find_bound(const Expr& expr, const std::vector<std::int64_t>& variables) const;

  const Stage& stage_;
  std::vector<ExprId> evaluated_;    // by the stage, ascending
  std::vector<std::int32_t> slots_;  // expression → its position in evaluated_, or -1
  std::vector<VarId> variables_;     // of the stage
  std::vector<std::int32_t> bits_;   // variable → its position in variables_, or -1
  std::size_t stride_ = 0;
  std::vector<std::uint64_t> words_;  // by slot
  std::vector<std::int64_t> bounds_;  // by slot
};

/// The factor of `variable` in every integer expression of the stage that is affine in it, else
/// nothing. An expression that does not contain the variable has stride 0.
std::vector<std::optional<std::int64_t>> strides(const Kernel& kernel,
                                                 const StageAnalysis& analysis, VarId variable);

/// The least and the greatest value of an integer expression in the stage's first row, if it has
/// rows; nothing if it depends on memory or on a sum's variable.
std::optional<std::pair<std::int64_t, std::int64_t>> range_in_first_row(const Kernel& kernel,
                                                                        const Stage& stage,
                                                                        ExprId id);

/// Whether the expression is an integer rather than a float.
bool is_integer(const Expr& expr);

/// The parts of an outer_product stage: previous + Σ left · right, all three loads.
struct OuterProduct {
  ExprId previous = -1;  ///< what is added to; -1 if the sum is stored as it is
  ExprId sum = -1;       ///< the reduction, in blocks
  ExprId left = -1, right = -1;
};
/// Nothing if the stage lacks the form that Stage::outer_product promises.
std::optional<OuterProduct> match_outer_product(const Kernel& kernel, const Stage& stage,
                                                const StageAnalysis& analysis);

}  // namespace espalier::codegen
