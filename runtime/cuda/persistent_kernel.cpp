#include "runtime/cuda/persistent_kernel.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "codegen/kernel/print.h"
#include "runtime/cuda/walk_plan.h"

namespace espalier::runtime {
namespace {

/// Shared memory that the driver reserves for each block, besides what the launch asks for.
constexpr std::int64_t reserved_bytes = 1 << 10;
constexpr int walk_threads = 256;
/// Shared memory that stages get at least, so that contractions with held weights have room to
/// work.
constexpr std::int64_t least_work_bytes = 40 << 10;

}  // namespace

PersistentKernel::PersistentKernel(const CudaDevice& device, codegen::Compiler& compiler,
                                   std::vector<const codegen::CompiledKernel*> kernels)
    : device_(device) {
  // Sorted by their text, so that the same kernels always give the same source.
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

  const std::string name = fmt::format("the persistent kernel of {} kernels", kernels.size());
  module_ = device_.load(compiler.compile_text(text.source), name);
  function_ = device_.function(module_.get(), codegen::walk_symbol, name);
  // Two blocks per multiprocessor if both fit, else one. What is left of shared memory holds
  // weights.
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

int PersistentKernel::occupancy(std::int64_t bytes) const {
  int blocks = 0;
  device_.driver().check(
      device_.driver().functions().occupancy(&blocks, function_, walk_threads, std::size_t(bytes)),
      "cuOccupancyMaxActiveBlocksPerMultiprocessor");
  return blocks;
}

std::int64_t PersistentKernel::places() const {
  return device_.gpu().multiprocessors * blocks_each_;
}

PersistentKernel::Prepared PersistentKernel::prepare(std::span<const PendingLaunch> launches,
                                                     const Conflicts& conflicts, bool holds) const {
  Prepared result;
  // A barrier of fewer blocks is quicker.
  std::int64_t tiles = 0;
  for (const PendingLaunch& launch : launches) tiles = std::max(tiles, launch.tiles());
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
  }
  result.walk = {.count = std::int32_t(launches.size()),
                 .work_bytes = std::int32_t(work_bytes_),
                 .most_buffers = std::int32_t(most_buffers_)};
  return result;
}

void PersistentKernel::launch(const Prepared& prepared, CUdeviceptr walk,
                              std::string_view what) const {
  void* argument = reinterpret_cast<void*>(walk);
  void* arguments[] = {&argument};
  device_.driver().check(device_.driver().functions().launch_cooperative(
                             function_, prepared.grid, 1, 1, walk_threads, 1, 1,
                             prepared.shared_bytes, device_.stream(), arguments),
                         "cuLaunchCooperativeKernel", what);
}

}  // namespace espalier::runtime
