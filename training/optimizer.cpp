#include "training/optimizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace espalier {
namespace {

/// The gradient of rows that have none.
constexpr std::array<float, 1024> no_gradient{};

}  // namespace

void set_embeddings(OptimizerOptions& options, std::span<const std::string> params,
                    std::optional<double> lr) {
  UpdateRule rule = options.rule;
  if (lr) rule = {.lr = *lr};
  rule.l2 = 0;
  for (const std::string& param : params) options.overrides.emplace_back(param, rule);
}

std::vector<std::string_view> StandardOptimizer::Slot::buffer_names() const {
  if (frozen) return {};
  return rule.optimizer->state(rule);
}

bool StandardOptimizer::Slot::updates_every_row() const {
  return !frozen && (rule.l2 != 0 || rule.optimizer->updates_every_row(rule));
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

/// Does nothing if they have begun, or if the rate is 0.
void StandardOptimizer::begin_updates(Slot& slot) {
  if (!slot.frozen || slot.rule.lr == 0) return;
  bring_back();  // a device keeps the state of the slots updated so far only
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
  for (Slot& slot : slots_) {
    slot.numbers = update_numbers(slot.rule, rate_factor_, static_cast<double>(steps_ + 1));
    slot.numbers.scale = static_cast<float>(scale);
  }
  ++steps_;
}

void StandardOptimizer::apply(Slot& slot, std::size_t first, std::span<float> values,
                              const float* gradient) const {
  std::array<float*, most_kept> state{};
  std::size_t kept = 0;
  for (std::vector<float>& buffer : slot.buffers)
    if (!buffer.empty()) state[kept++] = buffer.data() + first;
  slot.rule.optimizer->update(slot.numbers, values.size(), values.data(), gradient,
                              std::span(state).first(kept));
}

UpdateExpression::Numbers StandardOptimizer::update(ir::ParamId param, const Numbers& old,
                                                    ir::Scalar gradient, ir::Scalar scale,
                                                    std::span<const ir::Scalar> rates) const {
  const Slot& slot = slots_[param];
  Numbers floats = old;
  if (slot.frozen) return floats;
  slot.rule.optimizer->express(
      {scale, rates[0], rates[1], rates[2], rates[3], rates[4], rates[5], rates[6]}, gradient,
      floats, slot.buffer_names().size());
  return floats;
}

int StandardOptimizer::kept(ir::ParamId param) const {
  return static_cast<int>(slots_[param].buffer_names().size());
}

int StandardOptimizer::rates(ir::ParamId) const { return 7; }  // all numbers but the scale

void StandardOptimizer::next_rates(ir::ParamId param, std::span<float> rates) const {
  const UpdateNumbers<float> n =
      update_numbers(slots_[param].rule, rate_factor_, static_cast<double>(steps_ + 1));
  std::ranges::copy(
      std::array{n.rate, n.l2, n.epsilon, n.keep, n.new_mean, n.new_square, n.correction},
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
  return slots_[param].updates_every_row();
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

UpdateExpression* StandardOptimizer::expression() {
  bool all = options_.rule.optimizer->express != nullptr;
  for (const auto& [param, rule] : options_.overrides) all = all && rule.optimizer->express;
  return all ? this : nullptr;
}

void StandardOptimizer::keep_state_of(ir::ParamId param) { begin_updates(slots_[param]); }

std::vector<OptimizerBuffer> StandardOptimizer::buffers() {
  user_check(prepared_,
             "optimizer: its state was asked for before it knows the params; call Engine::prepare "
             "or take a step first");
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
