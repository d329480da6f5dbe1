// What runs on a GPU, and its memory: launches are noted down together with the arrays that they
// read, and go to the device together, in one copy from pinned memory; there one kernel walks them,
// or a graph replays them where the same sequence ran before. Owned by the CUDA executor.
#pragma once

#include <cstdint>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "runtime/cuda/driver.h"
#include "runtime/cuda/library.h"
#include "runtime/cuda/staging.h"
#include "runtime/cuda/walker.h"
#include "runtime/step/device_memory.h"
#include "runtime/step/executor.h"
#include "runtime/step/options.h"
#include "runtime/step/plan.h"

namespace espalier::runtime {

class CudaLauncher final : public DeviceMemory {
 public:
  /// What it goes on without is added to `warnings`. All outlive this.
  CudaLauncher(const CudaDevice& device, codegen::Compiler& compiler, const EngineOptions& options,
               std::vector<std::string>& warnings);
  ~CudaLauncher() override;

  void* allocate(std::size_t bytes) override;
  void release(void* memory) noexcept override;
  void copy(void* to, const void* from, std::size_t bytes) override;
  void clear(void* to, std::size_t bytes) override;
  void write(void* to, const void* from, std::size_t bytes) override;
  void read(void* to, const void* from, std::size_t bytes) override;

  /// What was placed before is not used any more, but by what has been noted down. Makes room for
  /// `expected`.
  void begin(const Staged& expected);
  /// Makes room for so much more; both grow `bytes` by growth(expected, at_begin).
  void reserve(const Staged& expected);
  std::size_t growth(const Staged& expected, bool at_begin) const {
    return staging_.growth(expected, at_begin);
  }
  /// Where a copy of the bytes will lie on the device when what is noted down from here on runs.
  const void* place(const void* values, std::size_t bytes);
  /// Who does the stages that are a library's; outlives this, or null.
  void set_products(Library* products) { products_ = products; }
  /// Notes down launches [begin, end) of a plan.
  void add(const Plan& plan, std::size_t begin, std::size_t end);
  /// Sends off what has been noted down.
  void submit(bool may_walk = true);
  void wait();

  /// So far; a graph counts as one launch.
  const Traffic& traffic() const { return traffic_; }
  std::size_t bytes() const { return staging_.bytes(); }

 private:
  /// Kernels that are launched by themselves read its beginning.
  using Record = CudaStaging::Record;
  struct Loaded {
    CudaOwner<CUmodule> module;
    std::vector<CUfunction> stages;
  };
  /// A part of what is pending, and what is launched for it if it walks.
  struct Way {
    Segment segment;
    const CudaWalker* walker = nullptr;
    CudaWalker::Prepared prepared = {};
    CUdeviceptr walk = 0;
  };
  /// A sequence of launches, whose records begin with a certain one.
  struct Shape {
    std::size_t first_record = 0;
    /// Kernel or product, stage, blocks.
    std::vector<std::tuple<const void*, int, unsigned>> launches;
    bool operator==(const Shape&) const = default;
  };
  struct ShapeHash {
    std::size_t operator()(const Shape& shape) const;
  };
  struct Graph {
    CudaOwner<CUgraphExec> exec;  // null: the sequence ran once, without one
    std::uint64_t last_used = 0;
  };

  const CudaFunctions& functions() const { return device_.driver().functions(); }
  void check(CUresult result, std::string_view call, std::string_view what = {}) const {
    device_.driver().check(result, call, what);
  }
  const Loaded& loaded(const codegen::CompiledKernel& kernel);
  std::vector<Way> choose_ways(bool may_walk, bool may_replay);
  void walk(const Way& way);
  void launch(std::size_t i, CUdeviceptr record);
  void launch_each(const Segment& segment, CUdeviceptr records);
  void launch_all(const Segment& segment, CUdeviceptr records, bool may_replay);
  /// Replays or captures the segment; false if it is to be launched one by one.
  bool replay(const Segment& segment, CUdeviceptr records);
  void capture(Graph& graph, const Segment& segment, CUdeviceptr records);
  void note_shape(const Segment& segment);
  std::string describe(std::size_t i) const;
  std::string describe(const Segment& segment) const;

  const CudaDevice& device_;
  DebugOptions debug_;
  Library* products_ = nullptr;
  std::unordered_map<const codegen::CompiledKernel*, Loaded> loaded_;
  CudaPersistent persistent_;
  std::unordered_map<void*, CudaOwner<CUdeviceptr>> memory_;
  Allocations allocations_;  // the same
  CudaStaging staging_;
  // What is pending: as the host knows it, as the device does, and its blocks.
  std::vector<NotedLaunch> pending_;
  std::vector<Record> pending_records_;
  std::vector<unsigned> grids_;
  CudaStaging::Records sending_;  // of what is being sent off
  bool running_ = false;          // something was sent off since the last wait
  std::string sent_;              // what, for errors found when waiting
  Shape shape_;
  std::unordered_map<Shape, Graph, ShapeHash> graphs_;
  std::uint64_t clock_ = 0;
  Traffic traffic_;
  CudaOwner<void*> results_;  // pinned, for small reads
};

}  // namespace espalier::runtime
