// The gradient of a param that cells read by rows (an embedding), on a device: which rows a
// minibatch touched, sorted by the host, and their sums. Owned by KernelUpdate, one per param.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/step/binding.h"
#include "runtime/update/step_plan.h"

namespace espalier::runtime {

class RowSums {
 public:
  RowSums(MemoryCounter& counter, DeviceMemory* memory)
      : sums_(counter, memory), carried_(counter, memory), blocks_(counter, memory) {}

  /// Finds the rows of `param`, of `width` floats, that contributions exist for, and adds the
  /// kernels that sum them up; if `carries`, on top of the sums so far.
  void collect(const Memory& memory, const CellKernels& kernels, ir::ParamId param,
               std::size_t width, bool carries, StepPlan& plan);
  /// Adds the kernel that adds the sums to a dense gradient.
  void add_to(float* dense, StepPlan& plan);

  /// The rows with a gradient, and the gradients: [touched, width].
  const std::vector<std::int32_t>& touched() const { return touched_; }
  const float* sums() const { return sums_.data(); }
  /// One float per touched row, for the norm.
  float* blocks();

  /// Bytes by which `collect` and `blocks` will grow for the minibatch.
  std::size_t forecast(const Memory& memory, const CellKernels& kernels, ir::ParamId param,
                       std::size_t width, bool carries) const;
  /// Upper bound on what `collect`, and an update by these rows, will stage.
  Staged staged(const Memory& memory, const CellKernels& kernels, ir::ParamId param,
                std::size_t width, bool carries) const;

 private:
  /// Rows that one cell contributes, brought into the order of the rows they belong to.
  struct Source {
    const float* from = nullptr;
    std::vector<std::int32_t> offsets, entries;
  };
  struct Contribution {
    std::span<const std::int32_t> rows;
    const float* from;
    std::int64_t stride;
  };
  static std::pair<std::size_t, std::size_t> most(const Memory& memory, const CellKernels& kernels,
                                                  ir::ParamId param, std::size_t width);
  void touch(std::span<const Contribution> contributions, std::size_t rows);
  void sort(Source& source, const Contribution& contribution);

  std::size_t width_ = 0;
  std::vector<Source> sources_;
  std::vector<std::int64_t> strides_;          // of the sources that there are
  std::vector<std::int32_t> touched_, slots_;  // slot → row, row → slot or -1
  Buffer<float> sums_, carried_, blocks_;
  std::vector<std::pair<std::vector<std::int64_t>, Compiled>> kernels_;  // by strides
  Compiled add_ = nullptr;
};

}  // namespace espalier::runtime
