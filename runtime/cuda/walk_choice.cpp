#include "runtime/cuda/walk_choice.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "runtime/cuda/held_weights.h"
#include "runtime/cuda/walk_cost_measurement.h"

namespace espalier::runtime {

WalkChoice::WalkChoice(const CudaDevice& device, codegen::Compiler& compiler,
                       const EngineOptions& options, std::vector<std::string>& warnings)
    : device_(device),
      compiler_(compiler),
      mode_(device.gpu().cooperative ? options.persistent : Persistent::off),
      cache_directory_(options.cache_directory),
      warnings_(warnings) {
  const std::string& given = options.debug.walk_costs;
  if (given.empty()) return;
  costs_ = parse_costs(given);
  user_check(costs_.has_value(), "walk costs: found '{}', expected 11 positive numbers", given);
}

std::vector<Segment> WalkChoice::choose(std::span<const PendingLaunch> launches,
                                        const Allocations& allocations, bool replayed) {
  const std::vector<Segment> alone{{0, launches.size(), false}};
  if (mode_ == Persistent::off) return alone;
  bool fresh = false;  // some kernels have not been seen before, and may not be seen again
  if (!find_kernel(launches))
    for (const PendingLaunch& launch : launches) fresh |= seen_.insert(launch.kernel).second;
  if (fresh || launches.size() < 2) return alone;
  try {
    return choose_walks(launches, allocations, replayed);
  } catch (const std::exception& error) {
    device_.wait("a walk");  // throws if the device has failed
    user_check(mode_ != Persistent::on,
               "persistent 'on' was asked for, but no walk is possible: {}", error.what());
    mode_ = Persistent::off;
    warnings_.push_back(fmt::format("launches are not walked: {}", error.what()));
    return alone;
  }
}

std::vector<Segment> WalkChoice::choose_walks(std::span<const PendingLaunch> launches,
                                              const Allocations& allocations, bool replayed) {
  std::vector<Segment> segments{{0, launches.size(), true}};
  if (mode_ == Persistent::automatic) {
    if (!costs_) costs_ = measured_walk_costs(device_, compiler_, cache_directory_);
    segments = choose_segments(works(launches, allocations), *costs_, replayed);
  }
  if (std::ranges::any_of(segments, &Segment::walked)) kernel_for(launches);
  return segments;
}

std::vector<LaunchWork> WalkChoice::works(std::span<const PendingLaunch> launches,
                                          const Allocations& allocations) {
  Conflicts conflicts(allocations, uses_);
  std::vector<LaunchWork> works;
  for (const PendingLaunch& launch : launches) {
    LaunchWork& work = works.emplace_back(work_of(launch));
    work.barrier = conflicts.barrier_before(launch);
    work.walks = launch.library_call == nullptr;
    work.held = may_hold(launch) != nullptr;
  }
  return works;
}

const PersistentKernel* WalkChoice::find_kernel(std::span<const PendingLaunch> launches) const {
  for (const auto& persistent : persistent_)
    if (std::ranges::all_of(launches, [&](const PendingLaunch& launch) {
          return persistent->contains(launch.kernel);
        }))
      return persistent.get();
  return nullptr;
}

const PersistentKernel& WalkChoice::kernel_for(std::span<const PendingLaunch> launches) {
  if (const PersistentKernel* found = find_kernel(launches)) return *found;
  std::unordered_set<const codegen::CompiledKernel*> needed;
  for (const PendingLaunch& launch : launches) needed.insert(launch.kernel);
  // A kernel that contains most of them is replaced by one that contains the others, too.
  std::vector<const codegen::CompiledKernel*> kernels(needed.begin(), needed.end());
  const auto known = [&](const std::unique_ptr<PersistentKernel>& persistent) {
    return std::ranges::count_if(needed,
                                 [&](const auto* kernel) { return persistent->contains(kernel); });
  };
  const auto nearest = std::ranges::max_element(persistent_, {}, known);
  if (nearest != persistent_.end() && 2 * std::size_t(known(*nearest)) > needed.size()) {
    for (const auto& [kernel, stage] : (*nearest)->kernels())
      if (!needed.contains(kernel)) kernels.push_back(kernel);
    device_.wait("a walk");  // the old one may still run
    persistent_.erase(nearest);
  }
  persistent_.push_back(std::make_unique<PersistentKernel>(device_, compiler_, std::move(kernels)));
  return *persistent_.back();
}

}  // namespace espalier::runtime
