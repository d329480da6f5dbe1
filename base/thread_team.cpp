#include "base/thread_team.h"

#include <system_error>
#include <utility>

#include "base/denormals.h"
#include "base/error.h"

namespace espalier {
namespace {

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// Waits until `value` differs from `old`: spins for some microseconds, then sleeps.
void wait_change(const std::atomic<std::uint32_t>& value, std::uint32_t old) {
  for (int spin = 0; spin < 4000; ++spin) {
    if (value.load(std::memory_order_acquire) != old) return;
    pause();
  }
  while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadTeam::ThreadTeam(int threads) : thrown_(static_cast<std::size_t>(threads)) {
  try {
    for (int thread = 1; thread < threads; ++thread)
      workers_.emplace_back([this, thread] { serve(thread); });
  } catch (const std::system_error& error) {
    stop();
    throw UserError(fmt::format("{} threads cannot be started: {}", threads, error.what()));
  }
}

ThreadTeam::~ThreadTeam() { stop(); }

void ThreadTeam::stop() {
  stopping_.store(true);
  started_.fetch_add(1);
  started_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadTeam::run(const Region& region) {
  const FlushDenormals flushing;
  if (workers_.empty()) return region.call(region.context, 0);
  work_ = region;
  started_.fetch_add(1, std::memory_order_release);
  started_.notify_all();
  call(0);
  barrier();  // nobody is inside the region any more
  std::exception_ptr first;
  for (std::exception_ptr& thrown : thrown_)
    if (const std::exception_ptr taken = std::exchange(thrown, nullptr); taken && !first)
      first = taken;
  if (first) std::rethrow_exception(first);
}

void ThreadTeam::call(int thread) noexcept {
  try {
    work_.call(work_.context, thread);
  } catch (...) {
    thrown_[static_cast<std::size_t>(thread)] = std::current_exception();
  }
}

void ThreadTeam::barrier() {
  if (workers_.empty()) return;
  const std::uint32_t phase = phase_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == static_cast<std::uint32_t>(size())) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.fetch_add(1, std::memory_order_release);
    phase_.notify_all();
  } else {
    wait_change(phase_, phase);
  }
}

void ThreadTeam::serve(int thread) {
  const FlushDenormals flushing;
  std::uint32_t seen = 0;
  while (true) {
    wait_change(started_, seen);
    ++seen;
    if (stopping_.load()) return;
    call(thread);
    barrier();
  }
}

}  // namespace espalier
