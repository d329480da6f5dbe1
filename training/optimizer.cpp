#include "training/optimizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "base/error.h"
#include "base/vector_clones.h"

namespace espalier {
namespace {

using Kind = UpdateRule::Kind;

constexpr OptimizerInfo kOptimizers[] = {
    {"sgd",
     "stochastic gradient descent, with momentum if wanted",
     {.kind = Kind::sgd, .lr = 0.05}},
    {"adagrad",
     "AdaGrad (Duchi et al. 2011): rates fall with the squared gradients so far",
     {.kind = Kind::adagrad, .lr = 0.05, .epsilon = 1e-10}},
    {"adam",
     "Adam (Kingma and Ba 2015), bias-corrected",
     {.kind = Kind::adam, .lr = 0.001, .epsilon = 1e-8}},
};

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
  user_check(rule.epsilon > 0 || rule.kind == Kind::sgd,
             "optimizer{}: found epsilon = 0, expected a number above 0", whose);
}

/// The names of a rule's buffers.
std::vector<std::string_view> buffer_names(const UpdateRule& rule) {
  switch (rule.kind) {
    case Kind::sgd:
      if (rule.momentum == 0) return {};
      return {"sgd.momentum"};
    case Kind::adagrad:
      return {"adagrad.sum"};
    case Kind::adam:
      return {"adam.mean", "adam.square"};
  }
  return {};
}

/// What rows without a gradient get.
constexpr std::array<float, 1024> no_gradient{};

/// The numbers of an update: floats, or expressions. `keep` is momentum or beta2.
template <class T>
struct Rates {
  T scale, rate, l2, epsilon, keep, new_mean, new_square, correction;
};
constexpr int rate_count = 7;  // all but the scale

// The updates of UpdateRule, of a param p with its gradient and its state.

template <class T>
T regularised(const Rates<T>& r, T gradient, T p) {
  return r.scale * gradient + r.l2 * p;
}

template <class T>
void sgd(const Rates<T>& r, T gradient, T& p) {
  p = p - r.rate * regularised(r, gradient, p);
}

template <class T>
void momentum(const Rates<T>& r, T gradient, T& p, T& m) {
  m = r.keep * m + regularised(r, gradient, p);
  p = p - r.rate * m;
}

template <class T>
void adagrad(const Rates<T>& r, T gradient, T& p, T& s) {
  using std::sqrt;
  const T g = regularised(r, gradient, p);
  s = s + g * g;
  p = p - r.rate * g / (sqrt(s) + r.epsilon);
}

template <class T>
void adam(const Rates<T>& r, T gradient, T& p, T& m, T& v) {
  using std::sqrt;
  const T g = regularised(r, gradient, p);
  m = m + r.new_mean * (g - m);
  v = r.keep * v + r.new_square * (g * g);
  p = p - r.rate * m / (sqrt(v) / r.correction + r.epsilon);
}

ESPALIER_VECTOR_CLONES void update_sgd(Rates<float> r, std::size_t size, float* __restrict p,
                                       const float* __restrict gradient) {
  for (std::size_t i = 0; i < size; ++i) sgd(r, gradient[i], p[i]);
}

ESPALIER_VECTOR_CLONES void update_momentum(Rates<float> r, std::size_t size, float* __restrict p,
                                            const float* __restrict gradient, float* __restrict m) {
  for (std::size_t i = 0; i < size; ++i) momentum(r, gradient[i], p[i], m[i]);
}

ESPALIER_VECTOR_CLONES void update_adagrad(Rates<float> r, std::size_t size, float* __restrict p,
                                           const float* __restrict gradient, float* __restrict s) {
  for (std::size_t i = 0; i < size; ++i) adagrad(r, gradient[i], p[i], s[i]);
}

ESPALIER_VECTOR_CLONES void update_adam(Rates<float> r, std::size_t size, float* __restrict p,
                                        const float* __restrict gradient, float* __restrict m,
                                        float* __restrict v) {
  for (std::size_t i = 0; i < size; ++i) adam(r, gradient[i], p[i], m[i], v[i]);
}

Rates<float> rates_of(const UpdateRule& rule, float scale, float rate, float correction) {
  return {.scale = scale,
          .rate = rate,
          .l2 = static_cast<float>(rule.l2),
          .epsilon = static_cast<float>(rule.epsilon),
          .keep = static_cast<float>(rule.kind == Kind::adam ? rule.beta2 : rule.momentum),
          .new_mean = static_cast<float>(1 - rule.beta1),
          .new_square = static_cast<float>(1 - rule.beta2),
          .correction = correction};
}

}  // namespace

std::span<const OptimizerInfo> optimizers() { return kOptimizers; }

UpdateRule update_rule(std::string_view name) {
  std::vector<std::string_view> names;
  for (const OptimizerInfo& info : kOptimizers) {
    if (info.name == name) return info.defaults;
    names.push_back(info.name);
  }
  throw UserError(fmt::format("optimizer: found '{}', expected one of {}; nearest: '{}'", name,
                              fmt::join(names, ", "), nearest_name(name, names)));
}

void set_embeddings(OptimizerOptions& options, std::span<const std::string> params,
                    std::optional<double> lr) {
  UpdateRule rule = options.rule;
  if (lr) rule = {.kind = Kind::sgd, .lr = *lr};
  rule.l2 = 0;
  for (const std::string& param : params) options.overrides.emplace_back(param, rule);
}

std::vector<std::string_view> StandardOptimizer::Slot::buffer_names() const {
  return frozen ? std::vector<std::string_view>{} : espalier::buffer_names(rule);
}

StandardOptimizer::StandardOptimizer(OptimizerOptions options) : options_(std::move(options)) {
  check(options_.rule, "");
  for (const auto& [param, rule] : options_.overrides)
    check(rule, fmt::format(" of param '{}'", param));
  user_check(options_.clip_norm >= 0, "optimizer: found clip norm = {}, expected at least 0",
             options_.clip_norm);
}

void StandardOptimizer::prepare(std::span<const StoredParam> params) {
  if (prepared_) {
    const auto same = [](const Slot& slot, const StoredParam& param) {
      return slot.size == param.size && slot.name == param.name;
    };
    user_check(std::ranges::equal(slots_, params, same),
               "optimizer: it holds the state of {} params of another model; make a new one",
               slots_.size());
    for (std::size_t i = 0; i < slots_.size(); ++i)
      if (params[i].reached) begin_updates(slots_[i]);
    return;
  }
  std::vector<std::string_view> names;
  for (const StoredParam& param : params) names.push_back(param.name);
  for (const auto& [name, rule] : options_.overrides)
    user_check(std::ranges::find(names, name) != names.end(),
               "optimizer: a rule is given for param '{}', which the model has not; nearest: '{}'",
               name, nearest_name(name, names));

  std::vector<Slot> slots;
  for (const StoredParam& param : params) {
    Slot slot{.name = param.name, .size = param.size, .rule = options_.rule, .buffers = {}};
    for (const auto& [name, rule] : options_.overrides)
      if (name == param.name) slot.rule = rule;
    if (param.reached) begin_updates(slot);
    slots.push_back(std::move(slot));
  }
  slots_ = std::move(slots);
  prepared_ = true;
}

/// Does nothing where they have begun.
void StandardOptimizer::begin_updates(Slot& slot) {
  if (!slot.frozen || slot.rule.lr == 0) return;
  bring_back();  // state that a device has is of those updated so far
  slot.frozen = false;
  for (std::size_t i = 0; i < slot.buffer_names().size(); ++i)
    slot.buffers[i].assign(slot.size, 0.0f);
}

void StandardOptimizer::begin_step(const GradientInfo& gradients) {
  user_check(std::isfinite(gradients.norm),
             "training diverged: the norm of the gradients is {} in step {} (a lower learning rate "
             "or clipping may help)",
             gradients.norm, steps_ + 1);
  double scale = gradients.scale;
  if (options_.clip_norm > 0 && gradients.norm > options_.clip_norm)
    scale *= options_.clip_norm / gradients.norm;
  scale_ = static_cast<float>(scale);
  for (Slot& slot : slots_)
    std::tie(slot.rate, slot.correction) = rate_of(slot.rule, static_cast<double>(steps_ + 1));
  ++steps_;
}

/// The learning rate of a step, and what Adam corrects √v by.
std::pair<float, float> StandardOptimizer::rate_of(const UpdateRule& rule, double step) const {
  double rate = rule.lr * rate_factor_, correction = 1;
  if (rule.kind == Kind::adam) {
    rate /= 1 - std::pow(rule.beta1, step);
    correction = std::sqrt(1 - std::pow(rule.beta2, step));
  }
  return {static_cast<float>(rate), static_cast<float>(correction)};
}

void StandardOptimizer::apply(Slot& slot, std::size_t first, std::span<float> values,
                              const float* gradient) const {
  const UpdateRule& rule = slot.rule;
  const Rates<float> rates = rates_of(rule, scale_, slot.rate, slot.correction);
  const std::size_t size = values.size();
  float* const p = values.data();
  const auto buffer = [&](std::size_t i) { return slot.buffers[i].data() + first; };
  switch (rule.kind) {
    case Kind::sgd:
      if (rule.momentum == 0) return update_sgd(rates, size, p, gradient);
      return update_momentum(rates, size, p, gradient, buffer(0));
    case Kind::adagrad:
      return update_adagrad(rates, size, p, gradient, buffer(0));
    case Kind::adam:
      return update_adam(rates, size, p, gradient, buffer(0), buffer(1));
  }
}

UpdateExpression::Numbers StandardOptimizer::update(ir::ParamId param, const Numbers& old,
                                                    ir::Scalar gradient, ir::Scalar scale,
                                                    std::span<const ir::Scalar> rates) const {
  if (slots_[param].frozen) return old;
  const UpdateRule& rule = slots_[param].rule;
  const Rates<ir::Scalar> r{scale,    rates[0], rates[1], rates[2],
                            rates[3], rates[4], rates[5], rates[6]};
  Numbers fresh = old;
  switch (rule.kind) {
    case Kind::sgd:
      if (rule.momentum == 0)
        sgd(r, gradient, fresh.value);
      else
        momentum(r, gradient, fresh.value, fresh.kept[0]);
      break;
    case Kind::adagrad:
      adagrad(r, gradient, fresh.value, fresh.kept[0]);
      break;
    case Kind::adam:
      adam(r, gradient, fresh.value, fresh.kept[0], fresh.kept[1]);
      break;
  }
  return fresh;
}

int StandardOptimizer::kept(ir::ParamId param) const {
  return static_cast<int>(slots_[param].buffer_names().size());
}

int StandardOptimizer::rates(ir::ParamId) const { return rate_count; }

void StandardOptimizer::next_rates(ir::ParamId param, std::span<float> rates) const {
  const UpdateRule& rule = slots_[param].rule;
  const auto [rate, correction] = rate_of(rule, static_cast<double>(steps_ + 1));
  const Rates<float> r = rates_of(rule, 1, rate, correction);
  std::ranges::copy(
      std::array{r.rate, r.l2, r.epsilon, r.keep, r.new_mean, r.new_square, r.correction},
      rates.begin());
}

void StandardOptimizer::keep_at(std::shared_ptr<KeptElsewhere> place) {
  bring_back();
  kept_at_ = std::move(place);
}

void StandardOptimizer::bring_back() {
  if (const auto place = std::exchange(kept_at_, nullptr)) place->bring_back();
}

void StandardOptimizer::update(ir::ParamId param, std::size_t first, std::span<float> values,
                               std::span<const float> gradient) {
  if (slots_[param].frozen) return;
  apply(slots_[param], first, values, gradient.data());
}

bool StandardOptimizer::updates_every_row(ir::ParamId param) const {
  if (slots_[param].frozen) return false;
  const UpdateRule& rule = slots_[param].rule;
  return rule.kind == Kind::adam || rule.l2 != 0 || (rule.kind == Kind::sgd && rule.momentum != 0);
}

void StandardOptimizer::update_rows(ir::ParamId param, std::size_t first_row, std::size_t width,
                                    std::span<float> values, std::span<const std::int32_t> rows,
                                    std::span<const float> gradients) {
  Slot& slot = slots_[param];
  const bool every_row = updates_every_row(param);
  const std::size_t first = first_row * width;
  std::size_t done = 0;  // floats of `values`
  const auto skip_to = [&](std::size_t next) {
    if (every_row && next > done)
      while (done < next) {
        const std::size_t count = std::min(next - done, no_gradient.size());
        apply(slot, first + done, values.subspan(done, count), no_gradient.data());
        done += count;
      }
  };
  for (std::size_t k = 0; k < rows.size(); ++k) {
    const std::size_t begin = (static_cast<std::size_t>(rows[k]) - first_row) * width;
    skip_to(begin);
    update(param, first + begin, values.subspan(begin, width), gradients.subspan(k * width, width));
    done = begin + width;
  }
  skip_to(values.size());
}

std::vector<OptimizerBuffer> StandardOptimizer::buffers() {
  user_check(prepared_,
             "optimizer: its buffers are asked for before it knows the params; Engine::prepare "
             "makes them, or the first step");
  bring_back();
  std::vector<OptimizerBuffer> result;
  for (std::size_t param = 0; param < slots_.size(); ++param) {
    const std::vector<std::string_view> names = slots_[param].buffer_names();
    for (std::size_t i = 0; i < names.size(); ++i)
      result.push_back({.name = names[i],
                        .param = static_cast<ir::ParamId>(param),
                        .values = slots_[param].buffers[i]});
  }
  return result;
}

}  // namespace espalier
