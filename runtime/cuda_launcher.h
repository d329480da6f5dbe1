// What runs on a GPU, and its memory: launches are noted down together with the arrays that they
// read, and go to the device together, in one copy from pinned memory and one graph where the same
// sequence ran before. Owned by the CUDA executor.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/cuda_driver.h"
#include "runtime/device_memory.h"
#include "runtime/options.h"
#include "runtime/plan.h"

namespace espalier::runtime {

class CudaLauncher final : public DeviceMemory {
 public:
  CudaLauncher(const CudaDevice& device, const DebugOptions& debug);
  ~CudaLauncher() override;

  void* allocate(std::size_t bytes) override;
  void release(void* memory) noexcept override;
  void copy(void* to, const void* from, std::size_t bytes) override;
  void clear(void* to, std::size_t bytes) override;
  void write(void* to, const void* from, std::size_t bytes) override;
  void read(void* to, const void* from, std::size_t bytes) override;

  /// What was placed before is not used any more, but by what has been noted down.
  void begin();
  /// Where a copy of the bytes will lie on the device when what is noted down from here on runs.
  const void* place(const void* values, std::size_t bytes);
  /// Notes down launches [begin, end) of a plan.
  void add(const Plan& plan, std::size_t begin, std::size_t end);
  /// Sends off what has been noted down.
  void submit();
  void wait();

  std::size_t launches() const { return launches_; }  ///< so far; of graphs one each
  std::size_t copies() const { return copies_; }      ///< of staged arrays so far
  std::size_t bytes() const;                          ///< of staging

 private:
  /// As the printed kernels read it.
  struct Record {
    void* const* buffers;
    long long row_begin, row_end;
  };
  struct Loaded {
    CudaOwner<CUmodule> module;
    std::vector<CUfunction> stages;
  };
  struct Pending {
    const codegen::CompiledKernel* kernel;
    int stage, batch;
    CUfunction function;
    unsigned grid;
    Record record;
  };
  /// The same bytes on the host and the device. Those of the first block begin with records.
  struct Block {
    CudaOwner<CUdeviceptr> device;
    CudaOwner<void*> pinned;
    std::size_t size = 0, used = 0, sent = 0;
  };
  /// A sequence of launches, whose records begin with a certain one.
  struct Shape {
    std::size_t first_record = 0;
    std::vector<std::pair<CUfunction, unsigned>> launches;
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
  void add_block(std::size_t bytes);
  void send(Block& block, std::size_t begin, std::size_t end);
  void launch(const Pending& pending, CUdeviceptr record);
  void launch_all(CUdeviceptr records, bool may_replay);
  /// Replays or captures the noted sequence; false if it is to be launched one by one.
  bool replay(CUdeviceptr records);
  void capture(Graph& graph, CUdeviceptr records);
  static std::string describe(const Pending& pending);

  const CudaDevice& device_;
  DebugOptions debug_;
  std::unordered_map<const codegen::CompiledKernel*, Loaded> loaded_;
  std::unordered_map<void*, CudaOwner<CUdeviceptr>> memory_;
  std::vector<Block> blocks_;
  std::vector<Pending> pending_;
  std::size_t record_room_ = 256, records_ = 0;  // of the first block; used since begin
  bool running_ = false;                         // something was sent off since the last wait
  std::string sent_;                             // what, for errors found when waiting
  Shape shape_;
  std::unordered_map<Shape, Graph, ShapeHash> graphs_;
  std::uint64_t clock_ = 0;
  std::size_t launches_ = 0, copies_ = 0;
  CudaOwner<void*> results_;  // pinned, for small reads
};

}  // namespace espalier::runtime
