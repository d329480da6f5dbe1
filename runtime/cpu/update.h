// Gradients of params in the host's memory: dense ones lie in ParamStore, rows of embeddings are
// sorted and summed here; then their norm and the optimizer's updates, shared by the threads.
#pragma once

#include <vector>

#include "base/thread_team.h"
#include "runtime/cpu/sparse.h"
#include "runtime/step/gradient_forms.h"
#include "runtime/step/update.h"

namespace espalier::runtime {

class CpuUpdate final : public Update {
 public:
  /// All outlive this. Nothing is done for params that no gradient reaches.
  CpuUpdate(const std::vector<StoredParam>& stored, MemoryCounter& counter, ThreadTeam& team);

  void make_gradients(const Memory& memory, const CellKernels& kernels) override;
  std::size_t forecast(const Memory& memory, const CellKernels& kernels,
                       const StepRequest& request) override;
  void collect(const Memory& memory, const CellKernels& kernels,
               const StepRequest& request) override;
  double norm() override { return norm_; }
  std::vector<float> dense_gradient(ParamStore& params, ir::ParamId param) override;
  /// Packed copies of dense params are renewed with them.
  void apply(ParamStore& params, Optimizer& optimizer) override;
  std::size_t bytes() const override;

 private:
  struct Param {
    GradientForm collected = GradientForm::none;  ///< by the last `collect`
    SparseGradient sparse;
  };
  Param& at(ir::ParamId id) { return params_[std::size_t(id)]; }
  bool is_sparse(ir::ParamId id) { return at(id).collected == GradientForm::rows; }
  void gather_rows(const Memory& memory, const CellKernels& kernels);
  void sum_rows(ParamStore& params);
  void add_rows(ParamStore& params, ir::ParamId id, std::size_t first, std::size_t last);
  void measure_norm(ParamStore& params);
  void update_dense(ParamStore& params, Optimizer& optimizer, ir::ParamId id, int thread);
  void update_rows(ParamStore& params, Optimizer& optimizer, ir::ParamId id, int thread);

  const std::vector<StoredParam>& stored_;
  ThreadTeam& team_;
  GradientForms forms_;
  std::vector<Param> params_;
  std::vector<double> squares_;  // sums of squares of the gradients, block by block
  std::vector<bool> seen_;       // scratch of `forecast`: rows of a param
  double norm_ = 0;
};

}  // namespace espalier::runtime
