#include "runtime/memory_budget.h"

#include <algorithm>

#include "runtime/check_options.h"
#include "runtime/step/forecast.h"

namespace espalier::runtime {

void MemoryBudget::refuse(std::string_view what, std::int64_t recorded) const {
  exceeds_limit(what, needed_, limit_, work_.options.device, recorded);
}

void MemoryBudget::refuse_recorded() const {
  const bool one = work_.recorder.graph().examples() == 1;
  refuse(one ? "one example" : "what has been recorded");
}

/// Recorded calls should take at most this.
std::int64_t MemoryBudget::most_recorded() const {
  return (work_.options.memory_limit - model_bytes(work_.stored)) / 16;
}

bool MemoryBudget::recorded_enough() const {
  if (work_.options.memory_limit == 0 || work_.on_device()) return false;
  return std::int64_t(work_.recorder.used_bytes()) > most_recorded();
}

void MemoryBudget::make_room_to_record() {
  if (work_.options.memory_limit == 0) return;
  // A list that grows one by one has room for twice as many.
  const std::int64_t bytes = 2 * most_recorded() - std::int64_t(work_.recorder.bytes());
  if (has_room(std::size_t(std::max<std::int64_t>(1, bytes)))) return;
  work_.recorder.release();
  work_.layout.release_parts();
  work_.plan = {};
}

/// Held by index arrays, capacity included; on a device, by those that lie there.
std::int64_t MemoryBudget::index_bytes() const {
  if (work_.on_device()) return std::int64_t(work_.backend.executor->bytes());
  return std::int64_t(work_.layout.bytes() + work_.plan.bytes() + work_.indices.bytes() +
                      work_.backend.update->bytes());
}

std::int64_t MemoryBudget::held() const {
  return work_.fixed.bytes + work_.arenas.memory().bytes + index_bytes();
}

void MemoryBudget::note_peak() {
  MemoryCounter& counter = work_.arenas.memory();
  peak_ = std::max(peak_, work_.fixed.bytes + counter.peak_bytes + index_bytes());
  counter.peak_bytes = counter.bytes;
}

void MemoryBudget::release_arenas() {
  note_peak();
  work_.arenas.release();
  work_.arenas.memory().peak_bytes = work_.arenas.memory().bytes;
}

void MemoryBudget::lay_out(StepStatistics& statistics) {
  work_.layout.lay_out(statistics);
  note_peak();
}

bool MemoryBudget::has_room(std::size_t bytes) {
  if (bytes == 0 || work_.options.memory_limit == 0 || work_.on_device()) return true;
  limit_ = work_.options.memory_limit;
  const auto enough = [&] { return held() + std::int64_t(bytes) <= limit_; };
  if (enough()) return true;
  // Values of the whole minibatch that have been computed stay; those of a part are not kept.
  if (work_.layout.ran_batches() == 0 || work_.layout.in_part()) {
    note_peak();
    work_.layout.release();
    if (enough()) return true;
    release_arenas();
    if (enough()) return true;
  }
  needed_ = held() + std::int64_t(bytes);
  return false;
}

MemoryForecast MemoryBudget::forecast(const StepRequest& request, StepStatistics& statistics) {
  make_fixed(work_.memory(), work_.kernels, work_.backend, request);
  work_.indices.reserve(work_.program());
  if (!has_room(work_.layout.layout_bytes())) return {needed_, needed_, needed_};
  lay_out(statistics);
  if (request.backward()) work_.layout.lay_out_gradients(statistics);
  MemoryForecast forecast =
      runtime::forecast(work_.memory(), work_.kernels, work_.plan, work_.backend, request);
  const std::int64_t others = work_.fixed.bytes + index_bytes();
  forecast.peak_bytes += others;
  forecast.fresh_bytes += others;
  return forecast;
}

bool MemoryBudget::fits(const StepRequest& request, StepStatistics& statistics) {
  limit_ = limit_for(request);
  if (limit_ == 0) {
    lay_out(statistics);
    return true;
  }
  const MemoryForecast forecast = this->forecast(request, statistics);
  if (forecast.peak_bytes > limit_) {
    const bool ran = request.first_batch > 0;  // what those batches hold stays
    if (ran || forecast.fresh_bytes > limit_) {
      needed_ = ran ? forecast.peak_bytes : std::min(forecast.peak_bytes, forecast.fresh_bytes);
      return false;
    }
    release_arenas();
  }
  most_instances_[request.backward()] = work_.layout.graph().size();
  return true;
}

/// The user's limit, or what a device has if more is to run than ever did; 0: none.
std::int64_t MemoryBudget::limit_for(const StepRequest& request) {
  if (work_.options.memory_limit > 0) return work_.options.memory_limit;
  if (work_.layout.graph().size() <= most_instances_[request.backward()]) return 0;
  const std::int64_t free = work_.backend.executor->free_bytes();
  return free > 0 ? held() + free : 0;
}

}  // namespace espalier::runtime
