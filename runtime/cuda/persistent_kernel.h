// One persistent kernel on the device: it contains the stages of many kernels, stays on the device
// while it walks through a sequence of records, and runs the stage that each record names. Here,
// *persistent* always means this kernel, and a *walk* is one launch of it, its way through a
// sequence. Made by WalkChoice; run by the launcher, which stages what it reads.
#pragma once

#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "codegen/compiler.h"
#include "codegen/cuda/walker.h"
#include "runtime/cuda/driver.h"
#include "runtime/cuda/pending_launch.h"
#include "runtime/cuda/walk_conflicts.h"

namespace espalier::runtime {

class PersistentKernel {
 public:
  /// Compiles and loads it. InternalError if it does not fit the GPU.
  PersistentKernel(const CudaDevice& device, codegen::Compiler& compiler,
                   std::vector<const codegen::CompiledKernel*> kernels);

  bool contains(const codegen::CompiledKernel* kernel) const {
    return first_stage_.contains(kernel);
  }
  /// The kernels that it contains, each with the number of its first stage.
  const auto& kernels() const { return first_stage_; }

  /// A walk that is ready to be staged. The caller fills in `buffers` of the records and puts the
  /// records' address on the device into `walk`.
  struct Prepared {
    std::vector<codegen::WalkRecord> records;
    codegen::Walk walk;
    unsigned grid = 1, shared_bytes = 0;
    std::size_t barriers = 0;
  };
  /// `holds`: whether blocks may hold weights in shared memory.
  Prepared prepare(std::span<const PendingLaunch> launches, const Conflicts& conflicts,
                   bool holds = true) const;
  /// `walk` is the address of the prepared walk on the device. Errors name `what`.
  void launch(const Prepared& prepared, CUdeviceptr walk, std::string_view what) const;
  /// Blocks that run on the device at the same time.
  std::int64_t places() const;

 private:
  int occupancy(std::int64_t bytes) const;

  const CudaDevice& device_;
  std::unordered_map<const codegen::CompiledKernel*, int> first_stage_;
  CudaOwner<CUmodule> module_;
  CUfunction function_ = nullptr;
  std::int64_t work_bytes_ = 0, most_buffers_ = 0;
  std::int64_t blocks_each_ = 1, held_bytes_ = 0;  // of a multiprocessor; of a block
};

}  // namespace espalier::runtime
