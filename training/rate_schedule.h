// How the learning rate changes over a run: a factor on all rates of the optimizer, a pure function
// of the step. Used by the loop before every step.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace espalier {

struct RateSchedule {
  std::string kind = "constant";  ///< one of rate_schedules()
  std::int64_t warmup_steps = 0;  ///< over which the factor rises linearly to 1

  /// Whether the factor is 1 in every step.
  bool is_constant() const { return kind == "constant" && warmup_steps == 0; }
};

/// constant, linear (down to 0), cosine (half a wave down to 0), inverse_sqrt.
std::span<const std::string_view> rate_schedules();

/// The factor for step `step` ≥ 0 of a run of `total` steps. UserError, listing the names, for an
/// unknown kind or a negative warm-up.
double rate_factor(const RateSchedule& schedule, std::int64_t step, std::int64_t total);

}  // namespace espalier
