#include "runtime/step/gradient_forms.h"

namespace espalier::runtime {

void GradientForms::classify(const CellKernels& kernels) {
  for (std::size_t p = 0; p < params_.size(); ++p) params_[p] = {};
  for (const auto& training : kernels.training_kernels()) {
    for (const ir::ParamId param : training->first_writes)
      params_[std::size_t(param)].written = true;
    for (const RowContribution& c : training->rows) params_[std::size_t(c.param)].has_rows = true;
  }
  for (std::size_t p = 0; p < params_.size(); ++p) {
    Param& param = params_[p];
    if (!stored_[p].reached) {
      param = {};
      continue;
    }
    // Cells that have not been compiled yet count by what the program says of them.
    const bool by_rows = (param.has_rows || stored_[p].by_rows) && !param.written;
    param.form = by_rows ? GradientForm::rows : GradientForm::whole;
  }
}

}  // namespace espalier::runtime
