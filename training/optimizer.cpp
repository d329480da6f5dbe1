#include "training/optimizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "runtime/step/update_expression.h"
#include "training/update_rule.h"

namespace espalier {
namespace {

/// The gradient of rows that have none.
constexpr std::array<float, 1024> no_gradient{};

struct Slot {
  std::string name;
  std::size_t size = 0;
  UpdateRule rule;
  bool frozen = true;  ///< no gradient has reached the param so far, or its rate is 0
  std::array<std::vector<float>, UpdateExpression::most_kept> buffers;
  UpdateNumbers<float> numbers = {};  ///< of this step

  std::vector<std::string_view> buffer_names() const {
    return frozen ? std::vector<std::string_view>() : rule.optimizer->state(rule);
  }
  bool updates_every_row() const {
    return !frozen && (rule.l2 != 0 || rule.optimizer->updates_every_row(rule));
  }
};

void apply(Slot& slot, std::size_t first, std::span<float> values, const float* gradient) {
  std::array<float*, UpdateExpression::most_kept> state{};
  std::size_t kept = 0;
  for (std::vector<float>& buffer : slot.buffers)
    if (!buffer.empty()) state[kept++] = buffer.data() + first;
  slot.rule.optimizer->update(slot.numbers, values.size(), values.data(), gradient,
                              std::span(state).first(kept));
}

}  // namespace

/// The state of each param, on the host or on a device that runs the rules as expressions.
class StandardOptimizer::Impl final : public UpdateExpression {
 public:
  explicit Impl(OptimizerOptions given) : options(std::move(given)) {}

  /// Does nothing if the updates of the slot have begun, or if its rate is 0.
  void begin_updates(Slot& slot) {
    if (!slot.frozen || slot.rule.lr == 0) return;
    bring_back();  // a device holds the state of the slots that were updated so far only
    slot.frozen = false;
    for (std::size_t i = 0; i < slot.buffer_names().size(); ++i)
      slot.buffers[i].assign(slot.size, 0.0f);
  }

  UpdateNumbers<float> next_numbers(const Slot& slot) const {
    return update_numbers(slot.rule, rate_factor, static_cast<double>(steps + 1));
  }

  void bring_back() {
    if (const auto place = std::exchange(kept_at_, nullptr)) place->bring_back();
  }

  int kept(ir::ParamId param) const override {
    return static_cast<int>(slots[param].buffer_names().size());
  }

  int rates(ir::ParamId) const override { return 7; }  // all numbers but the scale

  void next_rates(ir::ParamId param, std::span<float> rates) const override {
    const UpdateNumbers<float> n = next_numbers(slots[param]);
    std::ranges::copy(
        std::array{n.rate, n.l2, n.epsilon, n.keep, n.new_mean, n.new_square, n.correction},
        rates.begin());
  }

  Numbers update(ir::ParamId param, const Numbers& old, ir::Scalar gradient, ir::Scalar scale,
                 std::span<const ir::Scalar> rates) const override {
    const Slot& slot = slots[param];
    Numbers floats = old;
    if (slot.frozen) return floats;
    slot.rule.optimizer->express(
        {scale, rates[0], rates[1], rates[2], rates[3], rates[4], rates[5], rates[6]}, gradient,
        floats, slot.buffer_names().size());
    return floats;
  }

  double clip_norm() const override { return options.clip_norm; }
  std::span<float> kept_values(ir::ParamId param, int i) override {
    return slots[param].buffers[i];
  }
  void keep_at(std::shared_ptr<KeptElsewhere> place) override {
    bring_back();
    kept_at_ = std::move(place);
  }
  const KeptElsewhere* kept_at() const override { return kept_at_.get(); }

  OptimizerOptions options;
  std::vector<Slot> slots;  // [params]
  bool prepared = false;
  double rate_factor = 1;
  std::int64_t steps = 0;

 private:
  std::shared_ptr<KeptElsewhere> kept_at_;  // the device that has the state
};

void set_embeddings(OptimizerOptions& options, std::span<const std::string> params,
                    std::optional<double> lr) {
  UpdateRule rule = options.rule;
  if (lr) rule = {.lr = *lr};
  rule.l2 = 0;
  for (const std::string& param : params) options.overrides.emplace_back(param, rule);
}

StandardOptimizer::StandardOptimizer(OptimizerOptions options)
    : impl_(std::make_unique<Impl>(std::move(options))) {
  const OptimizerOptions& given = impl_->options;
  check(given.rule, "");
  for (const auto& [param, rule] : given.overrides)
    check(rule, fmt::format(" of param '{}'", param));
  user_check(given.clip_norm >= 0, "optimizer: found clip norm = {}, expected at least 0",
             given.clip_norm);
}

StandardOptimizer::~StandardOptimizer() = default;

void StandardOptimizer::prepare(std::span<const StoredParam> params) {
  if (impl_->prepared) {
    const auto same = [](const Slot& slot, const StoredParam& param) {
      return slot.size == param.size && slot.name == param.name;
    };
    user_check(std::ranges::equal(impl_->slots, params, same),
               "optimizer: it holds the state of {} params of another model; make a new one",
               impl_->slots.size());
    for (std::size_t i = 0; i < impl_->slots.size(); ++i)
      if (params[i].reached) impl_->begin_updates(impl_->slots[i]);
    return;
  }
  std::vector<std::string_view> names;
  for (const StoredParam& param : params) names.push_back(param.name);
  for (const auto& [name, rule] : impl_->options.overrides)
    user_check(std::ranges::find(names, name) != names.end(),
               "optimizer: a rule is given for param '{}', which the model has not; nearest: '{}'",
               name, nearest_name(name, names));

  std::vector<Slot> slots;
  for (const StoredParam& param : params) {
    Slot slot{.name = param.name, .size = param.size, .rule = impl_->options.rule, .buffers = {}};
    for (const auto& [name, rule] : impl_->options.overrides)
      if (name == param.name) slot.rule = rule;
    if (param.reached) impl_->begin_updates(slot);
    slots.push_back(std::move(slot));
  }
  impl_->slots = std::move(slots);
  impl_->prepared = true;
}

void StandardOptimizer::begin_step(const GradientInfo& gradients) {
  user_check(std::isfinite(gradients.norm),
             "training diverged: the norm of the gradients is {} in step {} (a lower learning rate "
             "or clipping may help)",
             gradients.norm, impl_->steps + 1);
  double scale = gradients.scale;
  if (impl_->options.clip_norm > 0 && gradients.norm > impl_->options.clip_norm)
    scale *= impl_->options.clip_norm / gradients.norm;
  for (Slot& slot : impl_->slots) {
    slot.numbers = impl_->next_numbers(slot);
    slot.numbers.scale = static_cast<float>(scale);
  }
  ++impl_->steps;
}

void StandardOptimizer::update(ir::ParamId param, std::size_t first, std::span<float> values,
                               std::span<const float> gradient) {
  if (impl_->slots[param].frozen) return;
  apply(impl_->slots[param], first, values, gradient.data());
}

bool StandardOptimizer::updates_every_row(ir::ParamId param) const {
  return impl_->slots[param].updates_every_row();
}

void StandardOptimizer::update_rows(ir::ParamId param, std::size_t first_row, std::size_t width,
                                    std::span<float> values, std::span<const std::int32_t> rows,
                                    std::span<const float> gradients) {
  Slot& slot = impl_->slots[param];
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

UpdateExpression* StandardOptimizer::expression() {
  bool all = impl_->options.rule.optimizer->express != nullptr;
  for (const auto& [param, rule] : impl_->options.overrides) all = all && rule.optimizer->express;
  return all ? impl_.get() : nullptr;
}

bool StandardOptimizer::updates(ir::ParamId param) const { return !impl_->slots[param].frozen; }

const OptimizerOptions& StandardOptimizer::options() const { return impl_->options; }

void StandardOptimizer::set_rate_factor(double factor) { impl_->rate_factor = factor; }
double StandardOptimizer::rate_factor() const { return impl_->rate_factor; }
double StandardOptimizer::rate() const { return impl_->options.rule.lr * impl_->rate_factor; }

std::int64_t StandardOptimizer::steps() const { return impl_->steps; }
void StandardOptimizer::set_steps(std::int64_t steps) { impl_->steps = steps; }

void StandardOptimizer::keep_state_of(ir::ParamId param) {
  impl_->begin_updates(impl_->slots[param]);
}

std::vector<OptimizerBuffer> StandardOptimizer::buffers() {
  user_check(impl_->prepared,
             "optimizer: its state was asked for before it knows the params; call Engine::prepare "
             "or take a step first");
  impl_->bring_back();
  std::vector<OptimizerBuffer> result;
  for (std::size_t param = 0; param < impl_->slots.size(); ++param) {
    const std::vector<std::string_view> names = impl_->slots[param].buffer_names();
    for (std::size_t i = 0; i < names.size(); ++i)
      result.push_back({.name = names[i],
                        .param = static_cast<ir::ParamId>(param),
                        .values = impl_->slots[param].buffers[i]});
  }
  return result;
}

}  // namespace espalier
