// The standard optimizer: one update rule for all params, or another rule for some of them. Made
// from options by the user or the command, stepped by Engine::train_step. In float, with PyTorch's
// formulas and order of operations. A row without a gradient is updated as if its gradient were 0,
// so sparse and dense gradients give the same result. Only the first `prepare` allocates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/step/optimizer.h"

namespace espalier {

struct OptimizerInfo;  // a record of training/update_rule.h

/// The first optimizer of the table: gradient descent.
const OptimizerInfo& sgd();

/// How a param is updated. For gradient g and value p, first g += l2·p, then
///   sgd:     m = momentum·m + g;  p -= lr·m
///   adagrad: s += g²;  p -= lr·g / (√s + epsilon)
///   adam:    m += (1 − beta1)(g − m);  v = beta2·v + (1 − beta2)g²;
///            p -= lr / (1 − beta1ᵗ) · m / (√v / √(1 − beta2ᵗ) + epsilon) at step t = 1, 2, …
/// where m, s and v start at 0. With lr = 0 the param is frozen: nothing of it is updated or kept.
/// So is a param that no gradient reaches, whatever its rule.
struct UpdateRule {
  const OptimizerInfo* optimizer = &sgd();  ///< a row of the table, or a record of the user's own
  double lr = 0.05;
  double momentum = 0;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 0;
  double l2 = 0;

  bool operator==(const UpdateRule&) const = default;
};

/// The defaults of the optimizer `name`. UserError, listing the names, if there is none.
UpdateRule update_rule(std::string_view name);

struct OptimizerOptions {
  UpdateRule rule;
  /// If above 0, gradients are scaled by min(1, clip_norm / norm over all params).
  double clip_norm = 0;
  /// Param → the rule that it follows instead.
  std::vector<std::pair<std::string, UpdateRule>> overrides = {};
};

/// Treats word vectors as published recipes do: the params follow `options.rule` without L2, or,
/// where `lr` is given, plain SGD at that rate.
void set_embeddings(OptimizerOptions& options, std::span<const std::string> params,
                    std::optional<double> lr);

class StandardOptimizer final : public Optimizer, public LearningRate, public OptimizerState {
 public:
  /// UserError unless rates, decays and norms are in their ranges.
  explicit StandardOptimizer(OptimizerOptions options);
  ~StandardOptimizer() override;
  StandardOptimizer(const StandardOptimizer&) = delete;  // a device knows where it is
  StandardOptimizer& operator=(const StandardOptimizer&) = delete;

  /// UserError also if an override names no param.
  void prepare(std::span<const StoredParam> params) override;
  /// UserError if the norm is not finite; values are as before then.
  void begin_step(const GradientInfo& gradients) override;
  void update(ir::ParamId param, std::size_t first, std::span<float> values,
              std::span<const float> gradient) override;
  bool updates(ir::ParamId param) const override;
  bool updates_every_row(ir::ParamId param) const override;
  void update_rows(ir::ParamId param, std::size_t first_row, std::size_t width,
                   std::span<float> values, std::span<const std::int32_t> rows,
                   std::span<const float> gradients) override;
  UpdateExpression* expression() override;

  LearningRate* learning_rate() override { return this; }
  OptimizerState* state() override { return this; }

  const OptimizerOptions& options() const;
  void set_rate_factor(double factor) override;
  double rate_factor() const;
  double rate() const override;

  std::int64_t steps() const override;
  void set_steps(std::int64_t steps) override;
  void keep_state_of(ir::ParamId param) override;
  std::vector<OptimizerBuffer> buffers() override;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace espalier
