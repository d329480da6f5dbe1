// The persistent path of a GPU: sequences of launches that one kernel walks, all blocks together.
// Decides which launches of a sequence walk, makes the walkers (one for many sequences: of all
// kernels that such a sequence needs, from the second time on that these are needed), and launches
// them. Owned by the launcher, which stages what they read.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "codegen/compiler.h"
#include "codegen/cuda/walker.h"
#include "runtime/cuda/driver.h"
#include "runtime/cuda/walk.h"
#include "runtime/cuda/walk_cost.h"
#include "runtime/step/options.h"

namespace espalier::runtime {

/// A walker on the device.
class CudaWalker {
 public:
  CudaWalker(const CudaDevice& device, codegen::Compiler& compiler,
             std::vector<const codegen::CompiledKernel*> kernels);

  bool knows(const codegen::CompiledKernel* kernel) const { return first_stage_.contains(kernel); }
  std::size_t size() const { return first_stage_.size(); }
  const auto& kernels() const { return first_stage_; }

  /// What is launched: the records, but for `buffers`, and the rest.
  struct Prepared {
    std::vector<codegen::WalkRecord> records;
    codegen::Walk walk;
    unsigned grid = 1, shared_bytes = 0;
    std::size_t barriers = 0, held = 0;
  };
  /// `holds`: blocks may hold weights.
  Prepared prepare(std::span<const NotedLaunch> launches, const Conflicts& conflicts,
                   bool holds = true) const;
  /// `walk` lies on the device, as do the records that it names.
  void launch(const Prepared& prepared, CUdeviceptr walk, std::string_view what) const;
  /// Places for blocks on the device.
  std::int64_t places() const;

 private:
  int occupancy(std::int64_t bytes) const;

  const CudaDevice& device_;
  std::unordered_map<const codegen::CompiledKernel*, int> first_stage_;
  CudaOwner<CUmodule> module_;
  CUfunction function_ = nullptr;
  std::int64_t work_bytes_ = 0, most_buffers_ = 0;
  std::int64_t blocks_each_ = 1, held_bytes_ = 0;  // per multiprocessor; of a block
};

class CudaPersistent {
 public:
  /// Why nothing walks though it might, if something failed, is added to `warnings`. All outlive
  /// this.
  CudaPersistent(const CudaDevice& device, codegen::Compiler& compiler,
                 const EngineOptions& options, std::vector<std::string>& warnings);

  /// How the launches of a sequence are to be sent off; if something walks, there is a walker.
  /// `replayed`: those that do not walk come from a graph. UserError if all must walk and cannot.
  std::vector<Segment> choose(std::span<const NotedLaunch> launches, const Allocations& allocations,
                              bool replayed);
  /// That of a sequence of which something walks.
  const CudaWalker& walker(std::span<const NotedLaunch> launches);
  Conflicts conflicts(const Allocations& allocations) { return {allocations, uses_}; }

 private:
  std::vector<Segment> choose_walks(std::span<const NotedLaunch> launches,
                                    const Allocations& allocations, bool replayed);
  const CudaWalker* find(std::span<const NotedLaunch> launches) const;
  std::vector<LaunchWork> works(std::span<const NotedLaunch> launches,
                                const Allocations& allocations);

  const CudaDevice& device_;
  codegen::Compiler& compiler_;
  Persistent mode_;
  std::filesystem::path cache_directory_;
  std::unordered_set<const codegen::CompiledKernel*> seen_;  // in sequences that did not walk
  std::vector<std::unique_ptr<CudaWalker>> walkers_;
  StageUses uses_;
  std::optional<DeviceCosts> costs_;
  std::vector<std::string>& warnings_;
};

}  // namespace espalier::runtime
