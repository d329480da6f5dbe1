// The compiled kernels of each cell: inference, training forward, backward, weight gradients, and
// the sums over readers. Made on first use, once per cell, by the passes of ir/passes/pipeline.h.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "codegen/compiler.h"
#include "codegen/kernel/lower.h"
#include "ir/passes/pipeline.h"
#include "ir/program.h"

namespace espalier::runtime {

/// Rows, `stride` floats apart, kept per cell row, or per child row of port `children`.
struct KeptRows {
  std::int64_t stride = 0;
  std::int8_t children = ir::per_instance;
};

/// A row contribution: number `contribution` of those kept, [cell rows, elements], is to be added
/// to rows of `param` chosen by Index port `index_port`.
struct RowContribution {
  ir::ParamId param = -1;
  int contribution = -1, index_port = -1;
};

struct TrainingKernels {
  ir::Differentiated differentiated;
  const codegen::CompiledKernel* forward = nullptr;
  const codegen::CompiledKernel* backward = nullptr;
  const codegen::CompiledKernel* weights = nullptr;
  std::vector<KeptRows> residuals, contributions;
  std::vector<RowContribution> rows;
  std::vector<ir::ParamId> first_writes;  ///< params whose gradient this module's weights store
};

class CellKernels {
 public:
  /// What is done to a cell's kernel before it is compiled.
  using Form = std::function<codegen::Kernel(codegen::Kernel)>;
  /// `program` outlives this and may grow at its end.
  CellKernels(const ir::Program& program, codegen::Compiler& compiler, bool verify, Form form = {});

  /// The kernel that runs a cell without dropout and without keeping anything.
  const codegen::CompiledKernel& inference(ir::CellId cell);
  /// The kernels of training, for this cell and all before it (which of two cells stores a shared
  /// param's gradient, and which adds to it, follows the order of cells).
  const TrainingKernels& training(ir::CellId cell);
  /// CellKernels made so far, in the order of cells.
  const std::vector<std::unique_ptr<TrainingKernels>>& training_kernels() const {
    return training_;
  }
  /// As a training module's weights, but all gradients are added to what is there.
  const codegen::CompiledKernel& added_weights(ir::CellId cell);
  /// Adds up the gradient rows of a state's readers: stage f handles field f.
  const codegen::CompiledKernel& reader_sum(ir::StateId state);

 private:
  TrainingKernels make_training(const ir::Cell& cell);
  ir::PassObserver observer() const;
  codegen::Kernel forward(const ir::Cell& cell) const;
  const codegen::CompiledKernel* compile(codegen::Kernel kernel);

  const ir::Program& program_;
  codegen::Compiler& compiler_;
  bool verify_;
  Form form_;
  std::vector<const codegen::CompiledKernel*> inference_, added_weights_, reader_sums_;
  std::vector<std::unique_ptr<TrainingKernels>> training_;
  std::vector<bool> written_;  // param → some module stores its gradient
};

}  // namespace espalier::runtime
