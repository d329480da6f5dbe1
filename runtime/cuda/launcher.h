// Runs launches on a GPU and owns its memory. Launches and the arrays that they read are collected
// first and then submitted together: one copy from pinned memory, then walks of a persistent
// kernel, replayed graphs or launches one by one. Owned by the CUDA executor; nothing waits but
// wait(), read(), write() and begin().
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/cuda/contraction_library.h"
#include "runtime/cuda/driver.h"
#include "runtime/cuda/graphs.h"
#include "runtime/cuda/modules.h"
#include "runtime/cuda/pending_launch.h"
#include "runtime/cuda/staging.h"
#include "runtime/cuda/walk_choice.h"
#include "runtime/step/device_memory.h"
#include "runtime/step/executor.h"
#include "runtime/step/options.h"
#include "runtime/step/plan.h"

namespace espalier::runtime {

class CudaLauncher final : public DeviceMemory {
 public:
  /// `warnings` gets a line for each thing that failed and that it can go on without. All arguments
  /// must outlive this.
  CudaLauncher(const CudaDevice& device, codegen::Compiler& compiler, const EngineOptions& options,
               std::vector<std::string>& warnings);
  ~CudaLauncher() override;

  void* allocate(std::size_t bytes) override;
  void release(void* memory) noexcept override;
  void copy(void* to, const void* from, std::size_t bytes) override;
  void clear(void* to, std::size_t bytes) override;
  void write(void* to, const void* from, std::size_t bytes) override;
  void read(void* to, const void* from, std::size_t bytes) override;

  /// Starts over with staged arrays: those staged so far are lost once what is pending has run.
  /// Makes room for `expected`.
  void begin(const Staged& expected);
  /// Makes room for `expected` in addition to what is staged.
  void reserve(const Staged& expected);
  /// How many bytes begin(expected) or reserve(expected) would add to bytes().
  std::size_t growth(const Staged& expected, bool at_begin) const {
    return staging_.growth(expected, at_begin);
  }
  /// Stages a copy of the bytes. Returns its address on the device, for launches added later.
  const void* place(const void* values, std::size_t bytes);
  /// The library that computes the stages marked for it; null for none. Must outlive this.
  void set_library(ContractionLibrary* library) { library_ = library; }

  /// Appends launches [begin, end) of a plan to what is pending.
  void add(const Plan& plan, std::size_t begin, std::size_t end);
  /// Sends what is pending to the device.
  void submit(bool may_walk = true);
  /// Waits for what was submitted.
  void wait();

  /// Totals so far; a graph counts as one launch.
  const Traffic& traffic() const { return traffic_; }
  /// Device memory of staged arrays.
  std::size_t bytes() const { return staging_.bytes(); }

 private:
  /// A kernel that is launched by itself reads only the beginning of its record.
  using Record = CudaStaging::Record;
  /// A segment of what is pending, with its persistent kernel if it is walked.
  struct Run {
    Segment segment;
    const PersistentKernel* persistent = nullptr;
    PersistentKernel::Prepared prepared = {};
    CUdeviceptr walk = 0;  // the prepared walk on the device
  };

  const CudaFunctions& functions() const { return device_.driver().functions(); }
  void check(CUresult result, std::string_view call, std::string_view what = {}) const {
    device_.driver().check(result, call, what);
  }
  unsigned grid_of(const PendingLaunch& launch) const;
  // The steps of submit, in order.
  std::vector<Run> choose_runs(bool may_walk, bool may_replay);
  Run prepare_walk(const Segment& segment);
  CUdeviceptr stage_records(std::vector<Run>& runs);
  void walk(const Run& run);
  void launch_segment(const Segment& segment, CUdeviceptr records, bool may_replay);
  /// Replays the segment's graph; false if it has none.
  bool replay(const Segment& segment, CUdeviceptr records);
  void launch_each(const Segment& segment, CUdeviceptr records);
  void launch(std::size_t i, CUdeviceptr record);

  void note_sequence(const Segment& segment);
  std::string describe(std::size_t i) const;
  std::string describe(const Segment& segment) const;

  const CudaDevice& device_;
  DebugOptions debug_;
  ContractionLibrary* library_ = nullptr;
  std::unordered_map<void*, CudaOwner<CUdeviceptr>> memory_;
  Allocations allocations_;  // `memory_` and the blocks of `staging_`
  CudaModules modules_;
  WalkChoice choice_;
  CudaGraphs graphs_;
  CudaStaging staging_;
  // What is pending, in three parallel arrays: for the host, for the device, and grid sizes.
  std::vector<PendingLaunch> pending_;
  std::vector<Record> pending_records_;
  std::vector<unsigned> grids_;
  CudaStaging::Records places_;  // of the records that are being submitted
  LaunchSequence sequence_;      // kept to reuse its memory
  bool running_ = false;         // whether anything was submitted since the last wait
  std::string submitted_;        // describes it, for errors found when waiting
  Traffic traffic_;
  CudaOwner<void*> results_;  // pinned, for small reads
};

}  // namespace espalier::runtime
