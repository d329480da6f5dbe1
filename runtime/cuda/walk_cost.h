// What launches cost on a GPU, and by that which of them one kernel should walk and which should be
// launched by themselves. Constants are measured on the device once (cuda_costs.h); the choice is a
// pure function of them and of the work.
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

#include "runtime/cuda/walk.h"

namespace espalier::runtime {

/// Seconds. Rates are those of the whole device when every place for a block is taken.
struct DeviceCosts {
  double launch = 0;        ///< from one launch to the next
  double graph = 0;         ///< of a replay, besides its nodes
  double node = 0;          ///< from one node of a replay to the next
  double walk = 0;          ///< of a walk, besides its records
  double record = 0;        ///< from one record to the next
  double barrier = 0;       ///< of all blocks meeting
  double flop = 0;          ///< of tiles launched by themselves
  double walked_flop = 0;   ///< of tiles within a walk
  double byte = 0;          ///< of memory, mostly from the L2
  double held_byte = 0;     ///< of weights that blocks hold
  std::int64_t places = 1;  ///< for blocks at once

  bool operator==(const DeviceCosts&) const = default;
};

/// Each number under its name above.
std::vector<std::pair<std::string_view, double>> named(const DeviceCosts& costs);

/// As text, and back: nothing if the text is none or a number in it cannot be right.
std::string to_text(const DeviceCosts& costs);
std::optional<DeviceCosts> costs_from(std::string_view text);

/// Those kept in the folder under exactly this key, or what `measure` gives, which is kept there
/// then. An empty folder keeps none; a broken file is as good as none. InternalError if they were
/// measured and cannot be right.
DeviceCosts kept_costs(const std::filesystem::path& folder, std::string_view key,
                       const std::function<DeviceCosts()>& measure);

/// What a launch does.
struct LaunchWork {
  double flops = 0;
  double bytes = 0;    ///< read and written, but for weights
  double weights = 0;  ///< bytes of packed weights
  std::int64_t tiles = 1;
  bool barrier = false;  ///< if it is walked, all blocks meet before it
  bool held = false;     ///< if it is walked, its weights are held
  bool walks = true;     ///< whether it can be walked at all
};
LaunchWork work_of(const NotedLaunch& launch);

double seconds_alone(const LaunchWork& work, const DeviceCosts& costs, bool replayed);
double seconds_walked(const LaunchWork& work, const DeviceCosts& costs);

/// Launches [begin, end) of a sequence.
struct Segment {
  std::size_t begin = 0, end = 0;
  bool walked = false;
  bool operator==(const Segment&) const = default;
};
/// The cheapest way through the sequence. `replayed`: launches by themselves come from a graph.
std::vector<Segment> choose_segments(std::span<const LaunchWork> works, const DeviceCosts& costs,
                                     bool replayed);

}  // namespace espalier::runtime
