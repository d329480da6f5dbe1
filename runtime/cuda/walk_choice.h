// Decides which launches of a sequence are walked by a persistent kernel and which are launched by
// themselves, and makes the persistent kernels. One serves many sequences: it contains all kernels
// of a sequence, and is made the second time that these are needed. Owned by the launcher.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "codegen/compiler.h"
#include "runtime/cuda/persistent_kernel.h"
#include "runtime/cuda/walk_cost.h"
#include "runtime/step/options.h"

namespace espalier::runtime {

class WalkChoice {
 public:
  /// If something fails that walks need, launches go on without walks, and `warnings` says why. All
  /// arguments must outlive this. UserError if the costs given in the options are invalid.
  WalkChoice(const CudaDevice& device, codegen::Compiler& compiler, const EngineOptions& options,
             std::vector<std::string>& warnings);

  /// How the launches of a sequence run. If any are walked, kernel_for(launches) exists afterwards.
  /// `replayed`: launches by themselves are replayed as a graph. UserError if walks were asked for
  /// (Persistent::on) but are not possible.
  std::vector<Segment> choose(std::span<const PendingLaunch> launches,
                              const Allocations& allocations, bool replayed);
  /// A persistent kernel that contains all kernels of the sequence, made now if there is none.
  const PersistentKernel& kernel_for(std::span<const PendingLaunch> launches);
  Conflicts conflicts(const Allocations& allocations) { return {allocations, uses_}; }

 private:
  std::vector<Segment> choose_walks(std::span<const PendingLaunch> launches,
                                    const Allocations& allocations, bool replayed);
  const PersistentKernel* find_kernel(std::span<const PendingLaunch> launches) const;
  std::vector<LaunchWork> works(std::span<const PendingLaunch> launches,
                                const Allocations& allocations);

  const CudaDevice& device_;
  codegen::Compiler& compiler_;
  Persistent mode_;
  std::filesystem::path cache_directory_;
  std::unordered_set<const codegen::CompiledKernel*> seen_;  // in sequences without a walk
  std::vector<std::unique_ptr<PersistentKernel>> persistent_;
  StageUses uses_;
  std::optional<WalkCosts> costs_;
  std::vector<std::string>& warnings_;
};

}  // namespace espalier::runtime
