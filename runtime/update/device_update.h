// What a step does besides running cells, on a device: the same as Update does on the host, by the
// kernels of step_kernels.h over device memory, one launch for each kind of work. The host sorts
// what it knows, the indices. Owned by the device's executor, whose `place` and `run` it uses.
#pragma once

#include <utility>
#include <vector>

#include "runtime/update/device_losses.h"
#include "runtime/update/device_rows.h"
#include "runtime/update/device_state.h"
#include "runtime/update/step_kernels.h"

namespace espalier::runtime {

class DeviceUpdate {
 public:
  /// `stored`, `executor` and `compiler` outlive this. Nothing is done for params that no gradient
  /// reaches.
  DeviceUpdate(const ir::Program& program, const std::vector<StoredParam>& stored,
               MemoryCounter& counter, Executor& executor, codegen::Compiler& compiler);

  // As in Executor.
  void write_inputs(const Memory& memory, Placement& placement, std::size_t first);
  void repack(ParamStore& param_store);
  void seed_losses(const Memory& memory, Placement& placement, float scale);
  void begin_losses(double sum) { losses_.begin(sum); }
  void gather_losses(const Memory& memory, Placement& placement);
  void reserve_losses(std::size_t count) { losses_.reserve(count); }
  double take_loss() { return losses_.take(plan_); }
  void collect(const Memory& memory, const CellKernels& kernels, bool accumulates);
  void make_gradients(const Memory& memory, const CellKernels& kernels);
  std::size_t prepare(const Memory& memory, const CellKernels& kernels, bool accumulates);
  void adopt(Optimizer& optimizer);
  void apply(ParamStore& param_store, Optimizer& optimizer);
  Staged staged(const Memory& memory, const CellKernels& kernels, Placement& placement,
                bool gradients, bool accumulates);
  double norm() { return losses_.norm(plan_); }
  std::vector<float> dense_gradient(ParamStore& param_store, ir::ParamId param);

 private:
  struct Param {
    bool updated = true;     ///< by the optimizer at hand
    bool whole = false;      ///< the optimizer changes every row
    bool dense = false;      ///< some cell's weight kernel writes the gradient
    bool rows = false;       ///< row contributions exist
    bool only_rows = false;  ///< what was collected last is `gradient` alone
    DeviceRows gradient;
  };
  /// A kernel of those that were made for certain params.
  template <class Key>
  using Kernels = std::vector<std::pair<std::vector<Key>, Compiled>>;

  bool has_rows(std::size_t p) const { return stored_[p].reached && params_[p].rows; }
  /// Whether a param's gradient is a list of rows, or whole.
  bool is_sparse(std::size_t p) const { return has_rows(p) && !params_[p].dense; }
  bool is_whole(std::size_t p) const { return stored_[p].reached && !is_sparse(p); }
  std::size_t width(ir::ParamId param) const;
  void classify(const CellKernels& kernels);
  void clear(ParamStore& param_store, const std::vector<ir::ParamId>& params);
  void measure_norm(ParamStore& param_store);
  void update(ParamStore& param_store, UpdateExpression& update, const std::vector<Updated>& params,
              const float* clip, const float* rates);
  void apply_here(ParamStore& param_store, Optimizer& optimizer, UpdateExpression& update);
  void apply_on_host(ParamStore& param_store, Optimizer& optimizer);

  const ir::Program& program_;
  DevicePlan plan_;
  std::vector<Param> params_;
  const std::vector<StoredParam>& stored_;
  DeviceLosses losses_;
  DeviceState state_;
  Buffer<float> blocks_;  // sums of squares of dense gradients
  std::vector<float> rates_;

  Kernels<codegen::Packing> packs_;
  Kernels<ir::ParamId> clears_;
  Kernels<Updated> updates_;
  std::vector<std::pair<std::int64_t, Compiled>> row_squares_;  // by width
  std::vector<std::pair<std::int64_t, Compiled>> inputs_;       // by elements of a row
  std::vector<std::int32_t> recorded_;                          // bits of inputs, before they go up
  Compiled squares_ = nullptr, norm_ = nullptr;
  std::vector<bool> squares_of_;  // which params are dense in squares_
};

}  // namespace espalier::runtime
