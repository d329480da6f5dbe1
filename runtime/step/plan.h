// A plan: schedule, layout and kernels flattened into the launches that the executor walks. Every
// launch has its pointers and ranges ready. Made by the engine for each minibatch; buffers reused.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_team.h"
#include "codegen/kernel/compiled_kernel.h"
#include "runtime/step/statistics.h"

namespace espalier::runtime {

/// How the threads share a launch; none changes a result.
enum class Split : std::uint8_t {
  serial,  ///< too small to share: the first thread runs it
  rows,
  parts,
};

struct Launch {
  codegen::StageFunction run = nullptr;
  std::uint32_t pointers = 0;  ///< of the first buffer, in Plan::pointers
  Split split = Split::serial;
  int row_tile = 1;
  std::int64_t row_begin = 0, row_end = 0, parts = 1;
  const codegen::CompiledKernel* kernel = nullptr;  ///< whose stage it is
  int stage = 0;   ///< of its stages on a CPU, of its cuda_stages on a GPU
  int batch = -1;  ///< of the schedule; -1 if it belongs to none
  std::int64_t cell_begin = 0, cell_end = 0;  ///< cell rows of all stages of its kernel
};

/// The cell rows of a launch of all stages of a kernel, and the child rows of each port.
struct LaunchRows {
  std::int64_t begin = 0, end = 0;
  /// Child rows of port p that belong to cell rows [begin, end).
  virtual std::pair<std::int64_t, std::int64_t> children(int port) const = 0;
  /// Parts of `part_rows` of the cell rows, or of the child rows of `port` if that is not -1.
  std::int64_t parts(int port, std::int64_t part_rows) const;

 protected:
  ~LaunchRows() = default;
};

class Plan {
 public:
  void clear() {
    launches_.clear();
    pointers_.clear();
  }
  /// What launches and pointers to so many buffers hold.
  static std::size_t bytes_of(std::size_t launches, std::size_t pointers) {
    return launches * sizeof(Launch) + pointers * sizeof(void*);
  }
  /// Room for so many launches, and pointers to their buffers.
  void reserve(std::size_t launches, std::size_t pointers) {
    launches_.reserve(launches);
    pointers_.reserve(pointers);
  }
  std::size_t bytes() const { return bytes_of(launches_.capacity(), pointers_.capacity()); }
  /// Gives the memory of the next buffer of the kernel that `add` is about to append.
  void bind(void* memory) { pointers_.push_back(memory); }
  /// Appends the stages of a kernel, all of whose buffers have been bound, in their order; `batch`
  /// as in Launch.
  void add(const codegen::CompiledKernel& kernel, const LaunchRows& rows, int batch = -1);

  /// Runs all launches in order on the team.
  void run(ThreadTeam& team) const;
  /// The same with a barrier around each launch, which it describes at the end of `profile`.
  void run_profiled(ThreadTeam& team, std::vector<LaunchProfile>& profile) const;
  /// Runs launches [begin, end) on the calling thread.
  void run_serial(std::size_t begin, std::size_t end) const;
  std::size_t size() const { return launches_.size(); }

  std::span<const Launch> launches() const { return launches_; }
  std::span<void* const> pointers() const { return pointers_; }
  /// What launch `i` is, with no time yet.
  LaunchProfile described(std::size_t i) const;

 private:
  static void share(Launch& launch, const codegen::CompiledStage& compiled, std::int64_t cell_rows);
  void run_share(const Launch& launch, int thread, int threads) const;

  std::vector<Launch> launches_;
  std::vector<void*> pointers_;
};

}  // namespace espalier::runtime
