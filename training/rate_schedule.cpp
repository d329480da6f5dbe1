#include "training/rate_schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace espalier {
namespace {

constexpr std::string_view kKinds[] = {"constant", "linear", "cosine", "inverse_sqrt"};

}  // namespace

std::span<const std::string_view> rate_schedules() { return kKinds; }

double rate_factor(const RateSchedule& schedule, std::int64_t step, std::int64_t total) {
  const std::int64_t warmup = schedule.warmup_steps;
  user_check(warmup >= 0, "learning rate schedule: found {} warm-up steps, expected at least 0",
             warmup);
  user_check(std::ranges::find(kKinds, schedule.kind) != std::end(kKinds),
             "learning rate schedule: found '{}', expected one of {}; nearest: '{}'", schedule.kind,
             fmt::join(kKinds, ", "), nearest_name(schedule.kind, kKinds));
  if (step < warmup) return static_cast<double>(step + 1) / static_cast<double>(warmup + 1);
  if (schedule.kind == "inverse_sqrt")
    return std::sqrt(static_cast<double>(std::max<std::int64_t>(warmup, 1)) /
                     static_cast<double>(std::max({step, warmup, std::int64_t{1}})));
  const auto past = static_cast<double>(step - warmup);
  const auto span = static_cast<double>(std::max<std::int64_t>(total - warmup, 1));
  const double progress = std::min(past / span, 1.0);
  if (schedule.kind == "linear") return 1 - progress;
  if (schedule.kind == "cosine") return (1 + std::cos(std::numbers::pi * progress)) / 2;
  return 1;
}

}  // namespace espalier
