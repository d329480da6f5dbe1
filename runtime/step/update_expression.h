// An optimizer's update as a scalar expression. Engines compile it into update kernels for devices
// whose memory the host cannot write. Returned by Optimizer::expression; used by runtime/update.
// Always holds: it computes the same numbers as Optimizer::update.
#pragma once

#include <array>
#include <memory>
#include <span>

#include "ir/program.h"
#include "ir/scalar.h"

namespace espalier {

/// Where an optimizer's state is while a device holds it.
class KeptElsewhere {
 public:
  virtual ~KeptElsewhere() = default;
  /// Copies the state to `kept_values`. The device reads it from there again before the next step.
  virtual void bring_back() = 0;
};

/// The update of one float, for optimizers that treat all floats of a param alike. A step calls
/// prepare and next_rates, computes the norm of the gradients, and calls begin_step. If the norm is
/// not finite, the step ends there and nothing has changed; otherwise the updates have been done.
class UpdateExpression {
 public:
  static constexpr int most_kept = 2, most_rates = 8;
  struct Numbers {
    ir::Scalar value;
    std::array<ir::Scalar, most_kept> kept;  ///< the optimizer's state for this float
  };
  virtual ~UpdateExpression() = default;

  /// State floats for each float of `param`, at most most_kept.
  virtual int kept(ir::ParamId param) const = 0;
  /// Length of the `rates` that `update` takes, at most most_rates.
  virtual int rates(ir::ParamId param) const = 0;
  /// Writes the rates of the next step.
  virtual void next_rates(ir::ParamId param, std::span<float> rates) const = 0;
  /// The new value and state. `gradient` has not been multiplied by `scale` yet.
  virtual Numbers update(ir::ParamId param, const Numbers& old, ir::Scalar gradient,
                         ir::Scalar scale, std::span<const ir::Scalar> rates) const = 0;
  /// If above 0, gradients are scaled down to this norm.
  virtual double clip_norm() const = 0;

  /// The state on the host, where it starts.
  virtual std::span<float> kept_values(ir::ParamId param, int i) = 0;
  /// From now on `place` holds the state. The previous holder brings it back first.
  virtual void keep_at(std::shared_ptr<KeptElsewhere> place) = 0;
  virtual const KeptElsewhere* kept_at() const = 0;
};

}  // namespace espalier
