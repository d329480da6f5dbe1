// Weight gradients after the backward pass: dense ones lie in ParamStore, rows of embeddings are
// sorted and summed here; then their norm and the optimizer's updates, shared by the threads.
#pragma once

#include <vector>

#include "base/thread_team.h"
#include "runtime/cpu/sparse.h"
#include "runtime/step/binding.h"
#include "runtime/step/optimizer.h"

namespace espalier::runtime {

class Update {
 public:
  /// `stored` outlives this. Nothing is done for params that no gradient reaches.
  Update(const ir::Program& program, const std::vector<StoredParam>& stored,
         MemoryCounter& counter);

  /// Gathers the row contributions of all cells: summed per row where a param has no other
  /// gradient, else added to its dense gradient. Dense gradients nobody writes become 0. If
  /// `accumulates`, all comes on top of what was collected before.
  void collect(const Memory& memory, const CellKernels& kernels, bool accumulates,
               ThreadTeam& team);
  /// Makes the dense gradients that `collect` needs.
  void make_gradients(const Memory& memory, const CellKernels& kernels);
  /// The same, and gives the bytes that `collect` will add.
  std::size_t prepare(const Memory& memory, const CellKernels& kernels, bool accumulates);
  /// Held by lists of rows; the gradients themselves are counted as buffers.
  std::size_t bytes() const;
  /// Euclidean norm of all gradients; the same for any number of threads.
  double norm() const { return norm_; }
  /// The optimizer's updates; packed copies of dense params are renewed with them.
  void apply(ParamStore& param_store, Optimizer& optimizer, double norm, ThreadTeam& team);

  std::vector<float> dense_gradient(ParamStore& param_store, ir::ParamId param) const;

 private:
  struct Param {
    bool dense = false;      ///< some cell's weight kernel writes the gradient
    bool rows = false;       ///< row contributions exist
    bool only_rows = false;  ///< what was collected last is `sparse` alone
    SparseGradient sparse;
  };
  bool has_rows(std::size_t p) const { return stored_[p].reached && params_[p].rows; }
  /// Whether a param's gradient is a list of rows, or whole.
  bool is_sparse(std::size_t p) const { return has_rows(p) && !params_[p].dense; }
  bool is_whole(std::size_t p) const { return stored_[p].reached && !is_sparse(p); }
  std::size_t width(ir::ParamId param) const;
  void add_rows(ParamStore& param_store, const Param& param, std::size_t first, std::size_t last);
  void measure_norm(ParamStore& param_store, ThreadTeam& team);
  void update_dense(ParamStore& param_store, Optimizer& optimizer, ir::ParamId param, int thread,
                    int threads);
  void update_rows(ParamStore& param_store, Optimizer& optimizer, ir::ParamId param, int thread,
                   int threads);
  void classify(const CellKernels& kernels);

  const ir::Program& program_;
  std::vector<Param> params_;
  const std::vector<StoredParam>& stored_;
  std::vector<double> squares_;  // of the gradients, block by block
  std::vector<bool> seen_;       // scratch of prepare: rows of a param
  double norm_ = 0;
};

}  // namespace espalier::runtime
