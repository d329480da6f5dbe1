// SGD with momentum, AdaGrad and Adam, each param by a rule of its own if wanted. Made from options
// by the user or the command, stepped by Engine::train_step. In float, with PyTorch's formulas and
// order of operations; rows without gradient are treated as rows with gradient 0, so that a sparse
// gradient gives what the dense one would. Allocates in the first `prepare` only.
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

namespace espalier {

/// How a param is updated. For gradient g and value p, first g += l2·p, then
///   sgd:     m = momentum·m + g;  p -= lr·m
///   adagrad: s += g²;  p -= lr·g / (√s + epsilon)
///   adam:    m += (1 − beta1)(g − m);  v = beta2·v + (1 − beta2)g²;
///            p -= lr / (1 − beta1ᵗ) · m / (√v / √(1 − beta2ᵗ) + epsilon) at step t = 1, 2, …
/// where m, s and v start at 0. With lr = 0 the param is frozen: nothing of it is updated or kept.
/// So is a param that no gradient reaches, whatever its rule.
struct UpdateRule {
  enum class Kind : std::uint8_t { sgd, adagrad, adam };

  Kind kind = Kind::sgd;
  double lr = 0.05;
  double momentum = 0;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 0;
  double l2 = 0;

  bool operator==(const UpdateRule&) const = default;
};

struct OptimizerInfo {
  std::string_view name, summary;
  UpdateRule defaults;
};

/// All optimizers by name, with their usual learning rate and epsilon.
std::span<const OptimizerInfo> optimizers();

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

/// One float per stored float of a param: "adagrad.sum", "adam.mean", "adam.square" or
/// "sgd.momentum".
struct OptimizerBuffer {
  std::string_view name;
  ir::ParamId param = -1;
  std::span<float> values;  ///< in the engine's layout of the param
};

class StandardOptimizer final : public Optimizer, private UpdateExpression {
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
  UpdateExpression* expression() override { return this; }

  const OptimizerOptions& options() const { return options_; }
  /// The learning rates of the next step are this times those of the rules; 1 at first.
  void set_rate_factor(double factor) { rate_factor_ = factor; }
  double rate_factor() const { return rate_factor_; }

  /// What a run that goes on later has to restore (training_state.h does): the number of steps and
  /// the buffers of all params that are updated. They are made by the first step or
  /// Engine::prepare: UserError before that.
  std::int64_t steps() const { return steps_; }
  void set_steps(std::int64_t steps) { steps_ = steps; }
  std::vector<OptimizerBuffer> buffers();

 private:
  struct Slot {
    std::string name;
    std::size_t size = 0;
    UpdateRule rule;
    bool frozen = true;  ///< no gradient reaches it so far, or its rate is 0
    std::array<std::vector<float>, 2> buffers;

    std::vector<std::string_view> buffer_names() const;
    float rate = 0, correction = 1;  // of this step; the latter is Adam's √(1 − beta2ᵗ)
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
  std::pair<float, float> rate_of(const UpdateRule& rule, double step) const;
  void apply(Slot& slot, std::size_t first, std::span<float> values, const float* gradient) const;

  OptimizerOptions options_;
  std::vector<Slot> slots_;
  bool prepared_ = false;
  double rate_factor_ = 1;
  std::int64_t steps_ = 0;
  float scale_ = 1;
  std::shared_ptr<KeptElsewhere> kept_at_;  // the device that has the state
};

}  // namespace espalier
