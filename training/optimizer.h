// The optimizer of all rules in training/update_rule.h, with another rule for some params if
// wanted. Made from options by the user or the command, stepped by Engine::train_step. In float,
// with PyTorch's formulas and order of operations. A row without a gradient is updated as if its
// gradient were 0, so sparse and dense gradients give the same result. Allocates in the first
// `prepare` only.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/step/optimizer.h"
#include "training/update_rule.h"

namespace espalier {

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

class StandardOptimizer final : public Optimizer,
                                public LearningRate,
                                public OptimizerState,
                                private UpdateExpression {
 public:
  /// UserError unless rates, decays and norms are in their ranges.
  explicit StandardOptimizer(OptimizerOptions options);
  StandardOptimizer(const StandardOptimizer&) = delete;  // a device knows where it is
  StandardOptimizer& operator=(const StandardOptimizer&) = delete;

  /// UserError also if an override names no param.
  void prepare(std::span<const StoredParam> params) override;
  /// UserError if the norm is not finite; values are as before then.
  void begin_step(const GradientInfo& gradients) override;
  void update(ir::ParamId param, std::size_t first, std::span<float> values,
              std::span<const float> gradient) override;
  bool updates(ir::ParamId param) const override { return !slots_[param].frozen; }
  bool updates_every_row(ir::ParamId param) const override;
  void update_rows(ir::ParamId param, std::size_t first_row, std::size_t width,
                   std::span<float> values, std::span<const std::int32_t> rows,
                   std::span<const float> gradients) override;
  UpdateExpression* expression() override;

  LearningRate* learning_rate() override { return this; }
  OptimizerState* state() override { return this; }

  const OptimizerOptions& options() const { return options_; }
  void set_rate_factor(double factor) override { rate_factor_ = factor; }
  double rate_factor() const { return rate_factor_; }
  double rate() const override { return options_.rule.lr * rate_factor_; }

  std::int64_t steps() const override { return steps_; }
  void set_steps(std::int64_t steps) override { steps_ = steps; }
  void keep_state_of(ir::ParamId param) override;
  std::vector<OptimizerBuffer> buffers() override;

 private:
  struct Slot {
    std::string name;
    std::size_t size = 0;
    UpdateRule rule;
    bool frozen = true;  ///< no gradient reaches it so far, or its rate is 0
    std::array<std::vector<float>, 2> buffers;

    std::vector<std::string_view> buffer_names() const;  // none while frozen
    bool updates_every_row() const;
    UpdateNumbers<float> numbers = {};  // of this step
  };

  // UpdateExpression
  int kept(ir::ParamId param) const override;
  int rates(ir::ParamId param) const override;
  void next_rates(ir::ParamId param, std::span<float> rates) const override;
  Numbers update(ir::ParamId param, const Numbers& old, ir::Scalar gradient, ir::Scalar scale,
                 std::span<const ir::Scalar> rates) const override;
  double clip_norm() const override { return options_.clip_norm; }
  std::span<float> kept_values(ir::ParamId param, int i) override {
    return slots_[param].buffers[i];
  }
  void keep_at(std::shared_ptr<KeptElsewhere> place) override;
  const KeptElsewhere* kept_at() const override { return kept_at_.get(); }

  void begin_updates(Slot& slot);
  void bring_back();
  void apply(Slot& slot, std::size_t first, std::span<float> values, const float* gradient) const;

  OptimizerOptions options_;
  std::vector<Slot> slots_;
  bool prepared_ = false;
  double rate_factor_ = 1;
  std::int64_t steps_ = 0;
  std::shared_ptr<KeptElsewhere> kept_at_;  // the device that has the state
};

}  // namespace espalier
