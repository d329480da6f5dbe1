// The cost model of walks: estimated seconds of a launch, walked by the persistent kernel or
// launched by itself, and the cheapest mix of both for a sequence. The constants are measured once
// per GPU (walk_cost_measurement.h); everything here is a pure function of them and of the work.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/cuda/pending_launch.h"

namespace espalier::runtime {

/// Constants of one GPU, all in seconds but `places`. Seconds per flop and per byte are those of
/// the whole device with a block at every place.
struct WalkCosts {
  double launch = 0;        ///< from one launch to the next
  double graph = 0;         ///< of replaying a graph, besides its nodes
  double node = 0;          ///< from one node of a replayed graph to the next
  double walk = 0;          ///< of a walk, besides its records
  double record = 0;        ///< from one record of a walk to the next
  double barrier = 0;       ///< of a barrier of all blocks
  double flop = 0;          ///< of tiles launched by themselves
  double walked_flop = 0;   ///< of tiles within a walk
  double byte = 0;          ///< of memory traffic, which mostly hits the L2 cache
  double held_byte = 0;     ///< of weights that blocks hold in shared memory
  std::int64_t places = 1;  ///< blocks that run at the same time

  bool operator==(const WalkCosts&) const = default;
};

/// Each constant with its name.
std::vector<std::pair<std::string_view, double>> named(const WalkCosts& costs);

/// As text for the disk cache and for EngineOptions: `places`, then the seconds in the order above.
std::string to_text(const WalkCosts& costs);
/// Nothing if the text is no such text, or a constant is implausible.
std::optional<WalkCosts> parse_costs(std::string_view text);

/// The constants cached in `folder` under exactly this key; otherwise those that `measure` returns,
/// which are then cached. An empty folder caches nothing; a broken file is ignored. InternalError
/// if the measured constants are implausible.
WalkCosts cached_costs(const std::filesystem::path& folder, std::string_view key,
                       const std::function<WalkCosts()>& measure);

/// What one launch does.
struct LaunchWork {
  double flops = 0;
  double bytes = 0;    ///< read and written, without weights
  double weights = 0;  ///< bytes of packed weights
  std::int64_t tiles = 1;
  bool barrier = false;  ///< if walked, it needs a barrier before it
  bool held = false;     ///< if walked, its weights are held in shared memory
  bool walks = true;     ///< whether it can be walked at all
};
/// Fills in the amounts, not the three flags.
LaunchWork work_of(const PendingLaunch& launch);

/// `replayed`: as a node of a graph.
double seconds_alone(const LaunchWork& work, const WalkCosts& costs, bool replayed);
double seconds_walked(const LaunchWork& work, const WalkCosts& costs);

/// Launches [begin, end) of a sequence: one walk, or launches by themselves.
struct Segment {
  std::size_t begin = 0, end = 0;
  bool walked = false;

  std::size_t size() const { return end - begin; }
  bool operator==(const Segment&) const = default;
};
/// The cheapest split of the sequence. `replayed`: launches by themselves are replayed as a graph.
std::vector<Segment> choose_segments(std::span<const LaunchWork> works, const WalkCosts& costs,
                                     bool replayed);

}  // namespace espalier::runtime
