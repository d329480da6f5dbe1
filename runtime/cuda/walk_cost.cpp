#include "runtime/cuda/walk_cost.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <sstream>

#include "base/disk_cache.h"
#include "base/error.h"

namespace espalier::runtime {
namespace {

struct Number {
  std::string_view name;
  double DeviceCosts::* member;
};
constexpr std::array numbers = {
    Number{"launch", &DeviceCosts::launch}, Number{"graph", &DeviceCosts::graph},
    Number{"node", &DeviceCosts::node},     Number{"walk", &DeviceCosts::walk},
    Number{"record", &DeviceCosts::record}, Number{"barrier", &DeviceCosts::barrier},
    Number{"flop", &DeviceCosts::flop},     Number{"walked_flop", &DeviceCosts::walked_flop},
    Number{"byte", &DeviceCosts::byte},     Number{"held_byte", &DeviceCosts::held_byte}};

/// Of the device, if so many blocks have work.
double share(const LaunchWork& work, const DeviceCosts& costs) {
  return std::min(1.0, double(work.tiles) / double(costs.places));
}

/// Adds what a stage of the launch does.
void add_work(LaunchWork& work, const NotedLaunch& launch, const codegen::Stage& stage) {
  const auto rows =
      stage.rows == codegen::RowDomain::once ? 1.0 : double(launch.row_end - launch.row_begin);
  if (stage.contraction) {
    const codegen::Packing& packing =
        launch.kernel->kernel.packings[std::size_t(stage.contraction->packing)];
    work.flops += 2.0 * rows * double(packing.m) * double(packing.k);
    work.bytes += 4.0 * rows * double(packing.m + packing.k);
    work.weights += 4.0 * double(packing.elements());
    return;
  }
  double elements = rows;
  for (const std::int64_t extent : stage.extents) elements *= double(extent);
  if (stage.outer_product) {
    // Its sums go over all rows of the cell, in parts or not.
    const auto cells = double(launch.cell_end - launch.cell_begin);
    const auto m = double(stage.extents[0]), k = double(stage.extents[1]);
    work.flops += 2.0 * m * k * cells;
    work.bytes += 4.0 * (cells * (m + k) + elements);
    return;
  }
  // A store reads a few numbers for each that it writes.
  work.bytes += 4.0 * 4.0 * elements * double(stage.stores.size());
  work.flops += 12.0 * elements * double(stage.stores.size());
}

}  // namespace

std::vector<std::pair<std::string_view, double>> named(const DeviceCosts& costs) {
  std::vector<std::pair<std::string_view, double>> result;
  for (const Number& number : numbers) result.emplace_back(number.name, costs.*number.member);
  result.emplace_back("places", double(costs.places));
  return result;
}

std::string to_text(const DeviceCosts& costs) {
  std::string text = fmt::format("{}", costs.places);
  for (const Number& number : numbers) text += fmt::format(" {}", costs.*number.member);
  return text;
}

std::optional<DeviceCosts> costs_from(std::string_view text) {
  std::istringstream in{std::string(text)};
  in.imbue(std::locale::classic());
  DeviceCosts costs;
  in >> costs.places;
  for (const Number& number : numbers) {
    in >> costs.*number.member;
    // A second for anything of these is no measurement.
    if (!in || !(costs.*number.member > 0) || costs.*number.member > 1) return {};
  }
  std::string rest;
  if (in >> rest || costs.places < 1) return {};
  return costs;
}

DeviceCosts kept_costs(const std::filesystem::path& folder, std::string_view key,
                       const std::function<DeviceCosts()>& measure) {
  DiskCache cache(folder);
  if (const auto found = cache.load(key))
    if (const auto costs = costs_from(*found)) return *costs;
  const DeviceCosts costs = measure();
  const std::string text = to_text(costs);
  internal_check(costs_from(text).has_value(), "costs of launches cannot be: found {}", text);
  cache.store(key, text);
  return costs;
}

LaunchWork work_of(const NotedLaunch& launch) {
  LaunchWork work;
  work.tiles = std::max<std::int64_t>(1, launch.cuda().tiles(launch.row_end - launch.row_begin));
  for (const codegen::Stage& stage : launch.stages()) add_work(work, launch, stage);
  return work;
}

double seconds_alone(const LaunchWork& work, const DeviceCosts& costs, bool replayed) {
  const double body = std::max(work.flops * costs.flop, (work.bytes + work.weights) * costs.byte);
  return (replayed ? costs.node : costs.launch) + body / share(work, costs);
}

double seconds_walked(const LaunchWork& work, const DeviceCosts& costs) {
  if (!work.walks) return std::numeric_limits<double>::infinity();
  const double begin = (work.barrier ? costs.barrier : 0) + costs.record;
  // Blocks that hold weights share them evenly.
  if (work.held) return begin + work.weights * costs.held_byte + work.bytes * costs.byte;
  const double body =
      std::max(work.flops * costs.walked_flop, (work.bytes + work.weights) * costs.byte);
  return begin + body / share(work, costs);
}

std::vector<Segment> choose_segments(std::span<const LaunchWork> works, const DeviceCosts& costs,
                                     bool replayed) {
  if (works.empty()) return {};
  // The least seconds up to each launch, by how that one runs; and how the one before it did then.
  struct Way {
    double seconds = 0;
    bool from_walk = false;
  };
  std::vector<std::array<Way, 2>> ways(works.size());
  const double begin[2] = {replayed ? costs.graph : 0, costs.walk};
  for (std::size_t i = 0; i < works.size(); ++i)
    for (const bool walked : {false, true}) {
      Way& way = ways[i][walked];
      const double here =
          walked ? seconds_walked(works[i], costs) : seconds_alone(works[i], costs, replayed);
      if (i == 0) {
        way.seconds = begin[walked] + here;
        continue;
      }
      const double stay = ways[i - 1][walked].seconds;
      const double change = ways[i - 1][!walked].seconds + begin[walked];
      way.from_walk = stay <= change ? walked : !walked;
      way.seconds = std::min(stay, change) + here;
    }
  std::vector<Segment> segments;
  bool walked = ways.back()[true].seconds < ways.back()[false].seconds;
  for (std::size_t i = works.size(); i-- > 0;) {
    if (segments.empty() || segments.back().walked != walked)
      segments.push_back({i, i + 1, walked});
    segments.back().begin = i;
    walked = ways[i][walked].from_walk;
  }
  std::ranges::reverse(segments);
  return segments;
}

}  // namespace espalier::runtime
