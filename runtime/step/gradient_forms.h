// In which form the gradient of each param comes: not at all, whole, or as a list of the rows that
// were read (embeddings). Decided here once for all devices; used by every Update.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/step/cell_kernels.h"
#include "runtime/step/optimizer.h"

namespace espalier::runtime {

enum class GradientForm : std::uint8_t { none, whole, rows };

class GradientForms {
 public:
  /// `stored` outlives this.
  explicit GradientForms(const std::vector<StoredParam>& stored)
      : stored_(stored), params_(stored.size()) {}

  /// Takes up the kernels of training compiled so far and what `stored` says now.
  void classify(const CellKernels& kernels);

  GradientForm form(ir::ParamId id) const { return at(id).form; }
  bool whole(ir::ParamId id) const { return form(id) == GradientForm::whole; }
  bool rows(ir::ParamId id) const { return form(id) == GradientForm::rows; }
  /// Whether cells contribute rows to the gradient, which may be whole all the same.
  bool has_rows(ir::ParamId id) const { return at(id).has_rows; }
  /// Whether some cell's weight kernel writes the gradient.
  bool written(ir::ParamId id) const { return at(id).written; }

  ir::ParamId size() const { return ir::ParamId(params_.size()); }
  /// Floats of a row, and rows, of a param that is read by rows.
  std::size_t width(ir::ParamId id) const { return stored_[std::size_t(id)].size / row_count(id); }
  std::size_t row_count(ir::ParamId id) const {
    return std::size_t(stored_[std::size_t(id)].shape[0]);
  }

 private:
  struct Param {
    GradientForm form = GradientForm::none;
    bool has_rows = false, written = false;
  };
  const Param& at(ir::ParamId id) const { return params_[std::size_t(id)]; }

  const std::vector<StoredParam>& stored_;
  std::vector<Param> params_;
};

}  // namespace espalier::runtime
