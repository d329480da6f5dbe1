#include "training/update_rule.h"

#include <fmt/format.h>

#include <cmath>

#include "base/error.h"
#include "base/vector_clones.h"

namespace espalier {
namespace {

template <class T>
using Numbers = UpdateNumbers<T>;
using Kept = UpdateExpression::Numbers;
using States = std::span<float* const>;

// Each optimizer: its update of a param p with gradient g and state, once for floats and
// expressions; a loop over floats; its row of the table below.

template <class T>
void step_sgd(const Numbers<T>& n, T g, T& p) {
  p = p - n.rate * n.regularised(g, p);
}

template <class T>
void step_momentum(const Numbers<T>& n, T g, T& p, T& m) {
  m = n.keep * m + n.regularised(g, p);
  p = p - n.rate * m;
}

ESPALIER_VECTOR_CLONES void loop_sgd(Numbers<float> n, std::size_t size, float* __restrict p,
                                     const float* __restrict g) {
  for (std::size_t i = 0; i < size; ++i) step_sgd(n, g[i], p[i]);
}

ESPALIER_VECTOR_CLONES void loop_momentum(Numbers<float> n, std::size_t size, float* __restrict p,
                                          const float* __restrict g, float* __restrict m) {
  for (std::size_t i = 0; i < size; ++i) step_momentum(n, g[i], p[i], m[i]);
}

template <class T>
void step_adagrad(const Numbers<T>& n, T g, T& p, T& s) {
  using std::sqrt;
  g = n.regularised(g, p);
  s = s + g * g;
  p = p - n.rate * g / (sqrt(s) + n.epsilon);
}

ESPALIER_VECTOR_CLONES void loop_adagrad(Numbers<float> n, std::size_t size, float* __restrict p,
                                         const float* __restrict g, float* __restrict s) {
  for (std::size_t i = 0; i < size; ++i) step_adagrad(n, g[i], p[i], s[i]);
}

template <class T>
void step_adam(const Numbers<T>& n, T g, T& p, T& m, T& v) {
  using std::sqrt;
  g = n.regularised(g, p);
  m = m + n.new_mean * (g - m);
  v = n.keep * v + n.new_square * (g * g);
  p = p - n.rate * m / (sqrt(v) / n.correction + n.epsilon);
}

ESPALIER_VECTOR_CLONES void loop_adam(Numbers<float> n, std::size_t size, float* __restrict p,
                                      const float* __restrict g, float* __restrict m,
                                      float* __restrict v) {
  for (std::size_t i = 0; i < size; ++i) step_adam(n, g[i], p[i], m[i], v[i]);
}

using Names = std::vector<std::string_view>;

constinit const OptimizerInfo table[3] = {
    {.name = "sgd",
     .summary = "stochastic gradient descent, optionally with momentum",
     .defaults = {.optimizer = &table[0], .lr = 0.05},
     .takes_momentum = true,
     .divides = false,
     .state = [](const UpdateRule& r) { return r.momentum == 0 ? Names{} : Names{"sgd.momentum"}; },
     .updates_every_row = [](const UpdateRule& r) { return r.momentum != 0; },
     .update =
         [](const Numbers<float>& n, std::size_t size, float* p, const float* g, States state) {
           state.empty() ? loop_sgd(n, size, p, g) : loop_momentum(n, size, p, g, state[0]);
         },
     .express =
         [](const Numbers<ir::Scalar>& n, ir::Scalar g, Kept& floats, std::size_t kept) {
           kept == 0 ? step_sgd(n, g, floats.value)
                     : step_momentum(n, g, floats.value, floats.kept[0]);
         }},
    {.name = "adagrad",
     .summary = "AdaGrad (Duchi et al. 2011): rates fall with the squared gradients so far",
     .defaults = {.optimizer = &table[1], .lr = 0.05, .epsilon = 1e-10},
     .state = [](const UpdateRule&) { return Names{"adagrad.sum"}; },
     .updates_every_row = [](const UpdateRule&) { return false; },
     .update = [](const Numbers<float>& n, std::size_t size, float* p, const float* g,
                  States state) { loop_adagrad(n, size, p, g, state[0]); },
     .express = [](const Numbers<ir::Scalar>& n, ir::Scalar g, Kept& floats,
                   std::size_t) { step_adagrad(n, g, floats.value, floats.kept[0]); }},
    {.name = "adam",
     .summary = "Adam (Kingma and Ba 2015), bias-corrected",
     .defaults = {.optimizer = &table[2], .lr = 0.001, .epsilon = 1e-8},
     .state = [](const UpdateRule&) { return Names{"adam.mean", "adam.square"}; },
     .updates_every_row = [](const UpdateRule&) { return true; },
     .adjust =
         [](const UpdateRule& rule, double step, Numbers<double>& n) {
           n.rate /= 1 - std::pow(rule.beta1, step);
           n.correction = std::sqrt(1 - std::pow(rule.beta2, step));
           n.keep = rule.beta2;
         },
     .update = [](const Numbers<float>& n, std::size_t size, float* p, const float* g,
                  States state) { loop_adam(n, size, p, g, state[0], state[1]); },
     .express = [](const Numbers<ir::Scalar>& n, ir::Scalar g, Kept& floats,
                   std::size_t) { step_adam(n, g, floats.value, floats.kept[0], floats.kept[1]); }},
};

}  // namespace

const OptimizerInfo& sgd() { return table[0]; }

std::span<const OptimizerInfo> optimizers() { return table; }

UpdateRule update_rule(std::string_view name) {
  std::vector<std::string_view> names;
  for (const OptimizerInfo& info : table) {
    if (info.name == name) return info.defaults;
    names.push_back(info.name);
  }
  throw UserError(fmt::format("optimizer: found '{}', expected one of {}; nearest: '{}'", name,
                              fmt::join(names, ", "), nearest_name(name, names)));
}

UpdateNumbers<float> update_numbers(const UpdateRule& rule, double rate_factor, double step) {
  Numbers<double> n{.scale = 1,
                    .rate = rule.lr * rate_factor,
                    .l2 = rule.l2,
                    .epsilon = rule.epsilon,
                    .keep = rule.momentum,
                    .new_mean = 1 - rule.beta1,
                    .new_square = 1 - rule.beta2,
                    .correction = 1};
  if (rule.optimizer->adjust) rule.optimizer->adjust(rule, step, n);
  const auto narrow = [](double x) { return static_cast<float>(x); };
  return {narrow(n.scale), narrow(n.rate),     narrow(n.l2),         narrow(n.epsilon),
          narrow(n.keep),  narrow(n.new_mean), narrow(n.new_square), narrow(n.correction)};
}

void check(const UpdateRule& rule, std::string_view whose) {
  const auto below = [&](const char* name, double value, double bound) {
    user_check(value >= 0 && value < bound, "optimizer{}: found {} = {}, expected 0 ≤ {} < {}",
               whose, name, value, name, bound);
  };
  below("lr", rule.lr, HUGE_VAL);
  below("momentum", rule.momentum, 1);
  below("beta1", rule.beta1, 1);
  below("beta2", rule.beta2, 1);
  below("epsilon", rule.epsilon, HUGE_VAL);
  below("l2", rule.l2, HUGE_VAL);
  user_check(rule.epsilon > 0 || !rule.optimizer->divides,
             "optimizer{}: found epsilon = 0, expected a number above 0", whose);
}

}  // namespace espalier
