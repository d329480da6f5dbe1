#include "bench/measure/machine.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "base/error.h"
#include "bench/measure/machine_loops.h"

namespace espalier::bench {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// What loops return goes here, so that no compiler leaves them out.
void keep(float value) {
  volatile float sink = value;
  static_cast<void>(sink);
}

/// Seconds of the fastest of `tries` runs of work(thread) on threads below `threads`.
template <class Work>
double best_seconds(ThreadTeam& team, int threads, int tries, const Work& work) {
  double best = 1e9;
  team.run([&](int thread) {
    for (int i = 0; i < tries; ++i) {
      team.barrier();
      const double start = now();
      if (thread < threads) work(thread);
      team.barrier();
      if (thread == 0) best = std::min(best, now() - start);
    }
  });
  return best;
}

struct Free {
  void operator()(float* pointer) const { std::free(pointer); }
};
using Floats = std::unique_ptr<float[], Free>;

/// Written once by the thread that is to read them, so that they lie in memory near it.
Floats touched_floats(std::size_t count) {
  Floats floats(static_cast<float*>(std::aligned_alloc(64, count * sizeof(float))));
  if (floats) std::fill_n(floats.get(), count, 1.0F);
  return floats;
}

}  // namespace

void measure_flops(ThreadTeam& team, Machine& machine) {
  const Loops loops = host_loops();
  machine.vectors = loops.name;
  machine.threads = team.size();
  const auto seconds = [&](int threads, std::int64_t rounds, int tries) {
    return best_seconds(team, threads, tries, [&](int) { keep(loops.multiply_add(rounds)); });
  };
  // As long as some hundred steps: for a few milliseconds a CPU may clock higher than it can go on.
  constexpr double window = 0.1;
  constexpr int tries = 5;
  std::int64_t rounds = 1000;
  while (seconds(1, rounds, 1) < window) rounds *= 2;
  const double work = loops.flops_per_round * static_cast<double>(rounds);
  machine.flops_one_thread = std::max(machine.flops_one_thread, work / seconds(1, rounds, tries));
  machine.flops = std::max(machine.flops, work * team.size() / seconds(team.size(), rounds, tries));
}

void measure_bandwidth(ThreadTeam& team, Machine& machine) {
  const Loops loops = host_loops();
  constexpr std::size_t most = std::size_t{1} << 30;
  const std::size_t sizes[] = {16U << 10, 256U << 10, 1U << 20, 4U << 20, 32U << 20, 256U << 20};
  const auto threads = static_cast<std::size_t>(team.size());
  std::size_t largest = sizes[0];
  for (const std::size_t size : sizes)
    if (size * threads <= most) largest = size;

  std::vector<Floats> memory(threads);
  team.run([&](int thread) {
    memory[static_cast<std::size_t>(thread)] = touched_floats(largest / sizeof(float));
  });
  user_check(std::ranges::all_of(memory, [](const Floats& floats) { return floats != nullptr; }),
             "out of memory: measuring bandwidth takes {} MiB", (largest * threads) >> 20);

  machine.bandwidth.clear();
  for (const std::size_t size : sizes) {
    if (size > largest) break;
    // Long enough for the clock and the barriers, however fast the level is.
    const auto passes = static_cast<int>(std::max<std::size_t>(1, (32U << 20) / size));
    const double seconds = best_seconds(team, team.size(), 5, [&](int thread) {
      const float* const from = memory[static_cast<std::size_t>(thread)].get();
      for (int pass = 0; pass < passes; ++pass) keep(loops.read(from, size / sizeof(float)));
    });
    machine.bandwidth.push_back(
        {.bytes_per_thread = static_cast<double>(size),
         .bytes_per_second =
             static_cast<double>(size) * static_cast<double>(threads) * passes / seconds});
  }
}

double bandwidth_at(std::span<const Bandwidth> curve, double bytes_per_thread) {
  internal_check(!curve.empty(), "no bandwidth was measured");
  for (std::size_t i = 0; i < curve.size(); ++i) {
    if (bytes_per_thread > curve[i].bytes_per_thread) continue;
    if (i == 0) break;
    const Bandwidth &below = curve[i - 1], &above = curve[i];
    const double part = std::log(bytes_per_thread / below.bytes_per_thread) /
                        std::log(above.bytes_per_thread / below.bytes_per_thread);
    return below.bytes_per_second + part * (above.bytes_per_second - below.bytes_per_second);
  }
  return bytes_per_thread <= curve.front().bytes_per_thread ? curve.front().bytes_per_second
                                                            : curve.back().bytes_per_second;
}

}  // namespace espalier::bench
