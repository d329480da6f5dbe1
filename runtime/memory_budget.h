// Whether what is asked of an engine fits in memory: under the user's limit, or in what a GPU has
// free. Forecasts a request before it runs, and gives back memory that earlier minibatches left and
// that stands in the way. Made by the engine.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "runtime/workspace.h"

namespace espalier::runtime {

class MemoryBudget {
 public:
  /// `workspace` outlives this.
  explicit MemoryBudget(Workspace& workspace) : work_(workspace) {}

  /// Lays out what is selected and forecasts the bytes held once the request has run; runs nothing.
  /// If laying out alone would exceed the limit, it is not done, and what it would take is
  /// returned.
  MemoryForecast forecast(const StepRequest& request, StepStatistics& statistics);
  /// Whether the request fits; if so, what is selected is laid out.
  bool fits(const StepRequest& request, StepStatistics& statistics);
  /// Whether the limit of the host's memory leaves room for `bytes` more.
  bool has_room(std::size_t bytes);
  /// Throws the UserError that `what` did not fit, after `fits` or `has_room` returned false;
  /// `recorded` as in exceeds_limit.
  [[noreturn]] void refuse(std::string_view what, std::int64_t recorded = 0) const;
  [[noreturn]] void refuse_recorded() const;

  /// Whether recorded calls take their share of the memory limit (Engine::recorded_enough).
  bool recorded_enough() const;
  /// Before a minibatch is recorded: makes room for the calls that are its share.
  void make_room_to_record();

  std::int64_t held() const;
  /// The most that was ever held at a `note_peak`, or in between by buffers that grew.
  std::int64_t peak() const { return peak_; }
  void note_peak();

 private:
  std::int64_t index_bytes() const;
  std::int64_t most_recorded() const;
  std::int64_t limit_for(const StepRequest& request);
  void lay_out(StepStatistics& statistics);
  void release_arenas();

  Workspace& work_;
  std::int64_t needed_ = 0, limit_ = 0;  // of what was found not to fit
  std::int64_t peak_ = 0;
  std::array<std::size_t, 2> most_instances_{};  // that fitted: forward only, with gradients
};

}  // namespace espalier::runtime
