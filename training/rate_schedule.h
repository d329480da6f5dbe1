// How a RateSchedule (training/loop.h) changes the learning rate over a run: a factor on all rates
// of the optimizer, a pure function of the step. Used by the loop before every step.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "training/loop.h"

namespace espalier {

/// constant, linear (down to 0), cosine (half a wave down to 0), inverse_sqrt.
std::span<const std::string_view> rate_schedules();

/// The factor for step `step` ≥ 0 of a run of `total` steps. UserError, listing the names, for an
/// unknown kind or a negative warm-up.
double rate_factor(const RateSchedule& schedule, std::int64_t step, std::int64_t total);

}  // namespace espalier
