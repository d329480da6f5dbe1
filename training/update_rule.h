// The visible table of optimizers: what an UpdateRule (training/optimizer.h) does to a param. An
// optimizer is one record in update_rule.cpp; StandardOptimizer, the command, `espalier info` and
// the tests walk the table.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "ir/scalar.h"
#include "runtime/step/update_expression.h"
#include "training/optimizer.h"

namespace espalier {

/// The numbers of one step's updates: floats on the host, scalar expressions for devices.
template <class T>
struct UpdateNumbers {
  T scale, rate, l2, epsilon, keep, new_mean, new_square, correction;

  /// The gradient, scaled, with weight decay.
  T regularised(T gradient, T p) const { return scale * gradient + l2 * p; }
};

/// An optimizer, whole.
struct OptimizerInfo {
  std::string_view name, summary;
  UpdateRule defaults;          ///< with this record, and the usual rate and epsilon
  bool takes_momentum = false;  ///< whether it reads UpdateRule::momentum
  bool divides = true;          ///< whether epsilon must be above 0
  /// Names of the floats kept for each float of a param, at most UpdateExpression::most_kept.
  std::vector<std::string_view> (*state)(const UpdateRule& rule);
  /// Whether rows without a gradient change too, even without L2.
  bool (*updates_every_row)(const UpdateRule& rule);
  /// Changes the numbers of step 1, 2, … from what they are by default: scale 1, the rule's rate,
  /// L2 and epsilon, keep = momentum, new_mean = 1 − beta1, new_square = 1 − beta2, correction 1.
  /// Null: they stay.
  void (*adjust)(const UpdateRule& rule, double step, UpdateNumbers<double>& numbers) = nullptr;
  /// Updates `size` floats p from their gradients g. state[i] has `size` floats of state i.
  void (*update)(const UpdateNumbers<float>& numbers, std::size_t size, float* p, const float* g,
                 std::span<float* const> state);
  /// The same update of one float, as an expression; `kept` is the number of states. Null: devices
  /// let the host do the updates.
  void (*express)(const UpdateNumbers<ir::Scalar>& numbers, ir::Scalar g,
                  UpdateExpression::Numbers& floats, std::size_t kept);
};

/// All optimizers, by name.
std::span<const OptimizerInfo> optimizers();

/// The numbers of step 1, 2, …, with all rates times `rate_factor`; the scale is 1.
UpdateNumbers<float> update_numbers(const UpdateRule& rule, double rate_factor, double step);

/// UserError unless rates and decays are in their ranges. `whose` is empty or " of param 'w'".
void check(const UpdateRule& rule, std::string_view whose);

}  // namespace espalier
