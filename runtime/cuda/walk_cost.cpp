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
  double WalkCosts::* member;
};
constexpr std::array numbers = {
    Number{"launch", &WalkCosts::launch}, Number{"graph", &WalkCosts::graph},
    Number{"node", &WalkCosts::node},     Number{"walk", &WalkCosts::walk},
    Number{"record", &WalkCosts::record}, Number{"barrier", &WalkCosts::barrier},
    Number{"flop", &WalkCosts::flop},     Number{"walked_flop", &WalkCosts::walked_flop},
    Number{"byte", &WalkCosts::byte},     Number{"held_byte", &WalkCosts::held_byte}};

/// The share of the device that the launch's blocks fill.
double share(const LaunchWork& work, const WalkCosts& costs) {
  return std::min(1.0, double(work.tiles) / double(costs.places));
}

/// Adds what one stage of the launch does.
void add_work(LaunchWork& work, const PendingLaunch& launch, const codegen::Stage& stage) {
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
    // Each sum goes over all rows of the cell, whether in parts or not.
    const auto cells = double(launch.cell_end - launch.cell_begin);
    const auto m = double(stage.extents[0]), k = double(stage.extents[1]);
    work.flops += 2.0 * m * k * cells;
    work.bytes += 4.0 * (cells * (m + k) + elements);
    return;
  }
  // A rough guess: each stored number takes three loads and twelve flops.
  work.bytes += 4.0 * 4.0 * elements * double(stage.stores.size());
  work.flops += 12.0 * elements * double(stage.stores.size());
}

}  // namespace

std::vector<std::pair<std::string_view, double>> named(const WalkCosts& costs) {
  std::vector<std::pair<std::string_view, double>> result;
  for (const Number& number : numbers) result.emplace_back(number.name, costs.*number.member);
  result.emplace_back("places", double(costs.places));
  return result;
}

std::string to_text(const WalkCosts& costs) {
  std::string text = fmt::format("{}", costs.places);
  for (const Number& number : numbers) text += fmt::format(" {}", costs.*number.member);
  return text;
}

std::optional<WalkCosts> parse_costs(std::string_view text) {
  std::istringstream in{std::string(text)};
  in.imbue(std::locale::classic());
  WalkCosts costs;
  in >> costs.places;
  for (const Number& number : numbers) {
    in >> costs.*number.member;
    // None of these takes as long as a second.
    if (!in || !(costs.*number.member > 0) || costs.*number.member > 1) return {};
  }
  std::string rest;
  if (in >> rest || costs.places < 1) return {};
  return costs;
}

WalkCosts cached_costs(const std::filesystem::path& folder, std::string_view key,
                       const std::function<WalkCosts()>& measure) {
  DiskCache cache(folder);
  if (const auto found = cache.load(key))
    if (const auto costs = parse_costs(*found)) return *costs;
  const WalkCosts costs = measure();
  const std::string text = to_text(costs);
  internal_check(parse_costs(text).has_value(), "the measured walk costs are implausible: found {}",
                 text);
  cache.store(key, text);
  return costs;
}

LaunchWork work_of(const PendingLaunch& launch) {
  LaunchWork work;
  work.tiles = std::max<std::int64_t>(1, launch.tiles());
  for (const codegen::Stage& stage : launch.stages()) add_work(work, launch, stage);
  return work;
}

double seconds_alone(const LaunchWork& work, const WalkCosts& costs, bool replayed) {
  const double body = std::max(work.flops * costs.flop, (work.bytes + work.weights) * costs.byte);
  return (replayed ? costs.node : costs.launch) + body / share(work, costs);
}

double seconds_walked(const LaunchWork& work, const WalkCosts& costs) {
  if (!work.walks) return std::numeric_limits<double>::infinity();
  const double begin = (work.barrier ? costs.barrier : 0) + costs.record;
  // Held weights are spread evenly over all blocks.
  if (work.held) return begin + work.weights * costs.held_byte + work.bytes * costs.byte;
  const double body =
      std::max(work.flops * costs.walked_flop, (work.bytes + work.weights) * costs.byte);
  return begin + body / share(work, costs);
}

std::vector<Segment> choose_segments(std::span<const LaunchWork> works, const WalkCosts& costs,
                                     bool replayed) {
  if (works.empty()) return {};
  // Dynamic programming over (launch, whether it is walked): the least seconds up to that launch,
  // and whether the launch before it is walked then.
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
