#include "runtime/cuda/walker.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "codegen/kernel/print.h"
#include "runtime/cuda/walk_constants.h"

namespace espalier::runtime {
namespace {

/// Of shared memory that each block takes besides what it asks for.
constexpr std::int64_t reserved_bytes = 1 << 10;
constexpr int walk_threads = 256;
/// At least that much for stages, so that more weights can be held.
constexpr std::int64_t least_work_bytes = 40 << 10;

}  // namespace

CudaWalker::CudaWalker(const CudaDevice& device, codegen::Compiler& compiler,
                       std::vector<const codegen::CompiledKernel*> kernels)
    : device_(device) {
  // In the order of their texts, so that equal sets make equal texts.
  std::map<std::string, const codegen::CompiledKernel*> ordered;
  for (const codegen::CompiledKernel* kernel : kernels)
    ordered.emplace(codegen::print_kernel(kernel->kernel), kernel);
  std::vector<const codegen::Kernel*> printed;
  for (const auto& [text, kernel] : ordered) printed.push_back(&kernel->kernel);
  const codegen::WalkerText text = codegen::print_walker(printed);
  std::size_t next = 0;
  for (const auto& [name, kernel] : ordered) first_stage_[kernel] = text.first_stage[next++];
  work_bytes_ = least_work_bytes;
  for (const codegen::CudaStage& stage : text.stages)
    work_bytes_ = std::max(work_bytes_, (stage.shared_bytes + 15) / 16 * 16);
  most_buffers_ = text.most_buffers;

  const std::string name = fmt::format("the walker of {} kernels", kernels.size());
  module_ = device_.load(compiler.compile_text(text.source), name);
  function_ = device_.function(module_.get(), codegen::walk_symbol, name);
  // Two blocks a multiprocessor if they leave room for weights, else one.
  const std::int64_t own = codegen::walk_bytes(work_bytes_, most_buffers_);
  for (blocks_each_ = 2; blocks_each_ > 0; --blocks_each_) {
    const std::int64_t most =
        (device_.gpu().shared_bytes + reserved_bytes) / blocks_each_ - reserved_bytes;
    held_bytes_ = most - own;
    if (held_bytes_ < 0) continue;
    device_.driver().check(
        device_.driver().functions().function_set_attribute(
            function_, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, int(most)),
        "cuFuncSetAttribute", name);
    if (occupancy(most) >= blocks_each_) return;
  }
  throw InternalError(fmt::format("{} takes {} bytes of shared memory, and the GPU has {}", name,
                                  own, device_.gpu().shared_bytes));
}

int CudaWalker::occupancy(std::int64_t bytes) const {
  int blocks = 0;
  device_.driver().check(
      device_.driver().functions().occupancy(&blocks, function_, walk_threads, std::size_t(bytes)),
      "cuOccupancyMaxActiveBlocksPerMultiprocessor");
  return blocks;
}

std::int64_t CudaWalker::places() const { return device_.gpu().multiprocessors * blocks_each_; }

CudaWalker::Prepared CudaWalker::prepare(std::span<const NotedLaunch> launches,
                                         const Conflicts& conflicts, bool holds) const {
  Prepared result;
  // Fewer blocks meet sooner.
  std::int64_t tiles = 0;
  for (const NotedLaunch& launch : launches)
    tiles = std::max(tiles, launch.cuda().tiles(launch.row_end - launch.row_begin));
  const std::int64_t few = device_.gpu().multiprocessors;
  result.grid = unsigned(tiles <= few ? few : places());
  std::vector<HeldWeights> held;
  if (holds) held = choose_held(launches, result.grid, held_bytes_, work_bytes_);
  const std::int64_t begin = codegen::walk_bytes(work_bytes_, most_buffers_);
  result.records = plan_walk(launches, conflicts, result.grid, held, begin);
  std::int64_t bytes = begin;
  for (const HeldWeights& weights : held)
    bytes = std::max(bytes, begin + weights.offset + weights.tile.slice_bytes(weights.width));
  result.shared_bytes = unsigned(bytes);
  for (std::size_t i = 0; i < launches.size(); ++i) {
    codegen::WalkRecord& record = result.records[i];
    record.stage = first_stage_.at(launches[i].kernel) + launches[i].stage;
    result.barriers += (record.flags & codegen::WalkRecord::barrier) != 0;
    result.held += record.held_at >= 0;
  }
  result.walk = {.count = std::int32_t(launches.size()),
                 .work_bytes = std::int32_t(work_bytes_),
                 .most_buffers = std::int32_t(most_buffers_)};
  return result;
}

void CudaWalker::launch(const Prepared& prepared, CUdeviceptr walk, std::string_view what) const {
  void* argument = reinterpret_cast<void*>(walk);
  void* arguments[] = {&argument};
  device_.driver().check(device_.driver().functions().launch_cooperative(
                             function_, prepared.grid, 1, 1, walk_threads, 1, 1,
                             prepared.shared_bytes, device_.stream(), arguments),
                         "cuLaunchCooperativeKernel", what);
}

CudaPersistent::CudaPersistent(const CudaDevice& device, codegen::Compiler& compiler,
                               const EngineOptions& options, std::vector<std::string>& warnings)
    : device_(device),
      compiler_(compiler),
      mode_(device.gpu().cooperative ? options.persistent : Persistent::off),
      cache_directory_(options.cache_directory),
      warnings_(warnings) {
  const std::string& given = options.debug.device_costs;
  if (given.empty()) return;
  costs_ = costs_from(given);
  user_check(costs_.has_value(), "costs of launches: found '{}', expected 11 positive numbers",
             given);
}

std::vector<Segment> CudaPersistent::choose(std::span<const NotedLaunch> launches,
                                            const Allocations& allocations, bool replayed) {
  const std::vector<Segment> alone{{0, launches.size(), false}};
  if (mode_ == Persistent::off) return alone;
  bool fresh = false;
  if (!find(launches))
    for (const NotedLaunch& launch : launches) fresh |= seen_.insert(launch.kernel).second;
  if (fresh || launches.size() < 2) return alone;
  try {
    return choose_walks(launches, allocations, replayed);
  } catch (const std::exception& error) {
    device_.wait("what walks");  // throws if that is lost
    user_check(mode_ != Persistent::on, "persistent 'on' was asked for, but nothing can walk: {}",
               error.what());
    mode_ = Persistent::off;
    warnings_.push_back(fmt::format("launches do not walk: {}", error.what()));
    return alone;
  }
}

std::vector<Segment> CudaPersistent::choose_walks(std::span<const NotedLaunch> launches,
                                                  const Allocations& allocations, bool replayed) {
  std::vector<Segment> segments{{0, launches.size(), true}};
  if (mode_ == Persistent::automatic) {
    if (!costs_) costs_ = device_costs(device_, compiler_, cache_directory_);
    segments = choose_segments(works(launches, allocations), *costs_, replayed);
  }
  if (std::ranges::any_of(segments, &Segment::walked)) walker(launches);
  return segments;
}

std::vector<LaunchWork> CudaPersistent::works(std::span<const NotedLaunch> launches,
                                              const Allocations& allocations) {
  Conflicts conflicts(allocations, uses_);
  std::vector<LaunchWork> works;
  for (const NotedLaunch& launch : launches) {
    LaunchWork& work = works.emplace_back(work_of(launch));
    work.barrier = conflicts.barrier_before(launch);
    work.walks = launch.product == nullptr;
    work.held = may_hold(launch) != nullptr;
  }
  return works;
}

const CudaWalker* CudaPersistent::find(std::span<const NotedLaunch> launches) const {
  for (const auto& walker : walkers_)
    if (std::ranges::all_of(
            launches, [&](const NotedLaunch& launch) { return walker->knows(launch.kernel); }))
      return walker.get();
  return nullptr;
}

const CudaWalker& CudaPersistent::walker(std::span<const NotedLaunch> launches) {
  if (const CudaWalker* found = find(launches)) return *found;
  std::unordered_set<const codegen::CompiledKernel*> needed;
  for (const NotedLaunch& launch : launches) needed.insert(launch.kernel);
  // A walker that knows most of them learns the others.
  std::vector<const codegen::CompiledKernel*> kernels(needed.begin(), needed.end());
  const auto known = [&](const std::unique_ptr<CudaWalker>& walker) {
    return std::ranges::count_if(needed, [&](const auto* kernel) { return walker->knows(kernel); });
  };
  const auto nearest = std::ranges::max_element(walkers_, {}, known);
  if (nearest != walkers_.end() && 2 * std::size_t(known(*nearest)) > needed.size()) {
    for (const auto& [kernel, stage] : (*nearest)->kernels())
      if (!needed.contains(kernel)) kernels.push_back(kernel);
    device_.wait("a walker");  // it may be under way
    walkers_.erase(nearest);
  }
  walkers_.push_back(std::make_unique<CudaWalker>(device_, compiler_, std::move(kernels)));
  return *walkers_.back();
}

}  // namespace espalier::runtime
