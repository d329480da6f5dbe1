// Gradients of params by kernels, for devices whose memory the host cannot reach: one launch for
// each kind of work. The host sorts what it knows, the indices. The norm returns to the host
// through Results.
#pragma once

#include <utility>
#include <vector>

#include "runtime/step/gradient_forms.h"
#include "runtime/step/update.h"
#include "runtime/update/optimizer_state.h"
#include "runtime/update/results.h"
#include "runtime/update/row_sums.h"
#include "runtime/update/step_kernels.h"
#include "runtime/update/step_plan.h"

namespace espalier::runtime {

class KernelUpdate final : public Update {
 public:
  /// All outlive this. Nothing is done for params that no gradient reaches.
  KernelUpdate(const std::vector<StoredParam>& stored, MemoryCounter& counter, Executor& executor,
               codegen::Compiler& compiler, Results& results);

  void make_gradients(const Memory& memory, const CellKernels& kernels) override;
  std::size_t forecast(const Memory& memory, const CellKernels& kernels,
                       const StepRequest& request) override;
  Staged staged(const Memory& memory, const CellKernels& kernels,
                const StepRequest& request) override;
  void collect(const Memory& memory, const CellKernels& kernels,
               const StepRequest& request) override;
  double norm() override { return results_.norm(); }
  std::vector<float> dense_gradient(ParamStore& params, ir::ParamId param) override;
  void adopt(Optimizer& optimizer) override;
  void apply(ParamStore& params, Optimizer& optimizer) override;

 private:
  struct Param {
    GradientForm collected = GradientForm::none;  ///< by the last `collect`
    bool every_row = false;                       ///< the optimizer updates all rows here
    RowSums sums;
  };
  /// Kernels made for lists of params.
  template <class Key>
  using Kernels = std::vector<std::pair<std::vector<Key>, Compiled>>;

  Param& at(ir::ParamId id) { return params_[std::size_t(id)]; }
  bool is_sparse(ir::ParamId id) { return at(id).collected == GradientForm::rows; }
  std::size_t size(ir::ParamId id) const { return stored_[std::size_t(id)].size; }
  void clear(ParamStore& params, const std::vector<ir::ParamId>& ids);
  void measure_norm(ParamStore& params);
  void apply_by_kernels(ParamStore& params, Optimizer& optimizer, UpdateExpression& update);
  void add_update(ParamStore& params, UpdateExpression& update, const std::vector<Updated>& updated,
                  const float* clip, const float* rates);
  void apply_on_host(ParamStore& params, Optimizer& optimizer);

  const std::vector<StoredParam>& stored_;
  StepPlan plan_;
  Results& results_;
  GradientForms forms_;
  std::vector<Param> params_;
  OptimizerState state_;
  Buffer<float> blocks_;  // sums of squares of dense gradients
  std::vector<float> rates_;

  Kernels<ir::ParamId> clear_kernels_;
  Kernels<Updated> update_kernels_;
  std::vector<std::pair<std::int64_t, Compiled>> row_squares_;  // by width
  Compiled squares_ = nullptr, norm_ = nullptr;
  std::vector<GradientForm> squares_of_;  // what `squares_` and `norm_` were made for
};

}  // namespace espalier::runtime
