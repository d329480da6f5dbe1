// How optimizers change a param: rules, and the visible table of optimizers. An optimizer is one
// record in update_rule.cpp; the command, `espalier info`, engines on every device and the tests
// walk the table. Used by StandardOptimizer (training/optimizer.h).
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/step/optimizer.h"

namespace espalier {

struct OptimizerInfo;

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

/// The defaults of the optimizer `name`. UserError, listing the names, if there is none.
UpdateRule update_rule(std::string_view name);

/// The numbers of step 1, 2, …, with all rates times `rate_factor`; the scale is 1.
UpdateNumbers<float> update_numbers(const UpdateRule& rule, double rate_factor, double step);

/// UserError unless rates and decays are in their ranges. `whose` is empty or " of param 'w'".
void check(const UpdateRule& rule, std::string_view whose);

}  // namespace espalier
