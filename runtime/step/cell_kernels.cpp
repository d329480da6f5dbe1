#include "runtime/step/cell_kernels.h"

#include "codegen/kernel/verify.h"
#include "codegen/kernel/verify_memory.h"
#include "ir/build.h"
#include "ir/verify.h"

namespace espalier::runtime {

using codegen::BufferRole;
using codegen::CompiledKernel;

namespace {

/// Rows of a gradient arena, the target row first among them, summed into the target row.
codegen::Kernel reader_sum_kernel(const ir::State& state) {
  codegen::Kernel kernel;
  kernel.name = state.name + ".reader_sum";
  codegen::KernelBuilder b(kernel);
  for (int field = 0; field < int(state.fields.size()); ++field) {
    const std::int64_t n = state.fields[std::size_t(field)].shape.size();
    const std::int64_t stride = codegen::row_stride(n);
    codegen::Stage stage;
    stage.row = b.variable();
    stage.joined = field > 0;
    stage.extents = {n};
    stage.variables = {b.variable()};
    const codegen::ExprId row = b.var(stage.row), j = b.var(stage.variables[0]);
    const codegen::BufferId offsets = b.buffer({BufferRole::port_offsets, 0});
    const codegen::VarId reader = b.variable();
    const codegen::ExprId from =
        b.load_index(b.buffer({BufferRole::port_values, 0}), b.var(reader));
    const codegen::ExprId sum =
        b.reduce(codegen::Reduction::sum, reader, b.load_index(offsets, row),
                 b.load_index(offsets, b.add(row, b.integer(1))),
                 b.load(b.buffer({BufferRole::state_field, 0, field, stride}),
                        b.add(b.multiply(from, stride), j)));
    const codegen::ExprId to = b.load_index(b.buffer({BufferRole::port_gradient_rows, 0}), row);
    stage.stores = {{b.buffer({BufferRole::child_gradient, 0, field, stride}),
                     b.add(b.multiply(to, stride), j), sum}};
    kernel.stages.push_back(std::move(stage));
  }
  return kernel;
}

KeptRows kept(const ir::Type& type) {
  return {codegen::row_stride(type.shape.size()), type.children};
}

}  // namespace

/// Checks what each pass gives.
ir::PassObserver CellKernels::observer() const {
  if (!verify_) return {};
  return {
      [this](const ir::PassInfo&, const ir::Cell& cell) { ir::verify(cell, program_); },
      [this](const ir::PassInfo&, const ir::Differentiated& both) { ir::verify(both, program_); }};
}

const CompiledKernel* CellKernels::compile(codegen::Kernel kernel) {
  if (form_) kernel = form_(std::move(kernel));
  if (verify_) {
    codegen::verify_kernel(kernel);
    codegen::verify_memory(kernel);
  }
  return &compiler_.compile(std::move(kernel));
}

CellKernels::CellKernels(const ir::Program& program, codegen::Compiler& compiler, bool verify,
                         KernelForm form)
    : program_(program), compiler_(compiler), verify_(verify), form_(std::move(form)) {}

/// Rows of inputs are written by the executor: nothing is left to run.
codegen::Kernel CellKernels::forward(const ir::Cell& cell) const {
  if (ir::is_input(cell)) {
    codegen::Kernel nothing;
    nothing.name = cell.name + ".forward";
    return nothing;
  }
  return codegen::lower_forward(program_, cell, compiler_.target());
}

const CompiledKernel& CellKernels::inference(ir::CellId id) {
  inference_.resize(program_.cells.size());
  const CompiledKernel*& kernel = inference_[std::size_t(id)];
  if (!kernel)
    kernel = compile(forward(ir::inference_cell(program_.cells[std::size_t(id)], observer())));
  return *kernel;
}

const TrainingKernels& CellKernels::training(ir::CellId id) {
  written_.resize(program_.params.size());
  while (training_.size() <= std::size_t(id))
    training_.push_back(
        std::make_unique<TrainingKernels>(make_training(program_.cells[training_.size()])));
  return *training_[std::size_t(id)];
}

TrainingKernels CellKernels::make_training(const ir::Cell& source) {
  TrainingKernels module;
  module.differentiated = ir::training_cells(program_, source, observer());
  const ir::Cell& forward = module.differentiated.forward;
  const ir::BackwardCell& backward = module.differentiated.backward;
  const auto& fields = program_.states[std::size_t(forward.state)].fields;
  for (std::size_t i = fields.size(); i < forward.outputs.size(); ++i)
    module.residuals.push_back(kept(forward.graph[forward.outputs[i]].type));
  const codegen::BackwardStorage storage = codegen::backward_storage(backward);
  for (const ir::NodeId node : storage.stored)
    module.contributions.push_back(kept(backward.graph[node].type));

  std::vector<bool> accumulates;
  for (const ir::ParamContribution& c : backward.contributions) {
    if (c.kind == ir::ParamContribution::Kind::rows) {
      accumulates.push_back(false);
      module.rows.push_back({c.param, storage.contribution(c.left), c.index_port});
      continue;
    }
    accumulates.push_back(written_[std::size_t(c.param)]);
    if (!written_[std::size_t(c.param)]) module.first_writes.push_back(c.param);
    written_[std::size_t(c.param)] = true;
  }
  module.forward = compile(this->forward(forward));
  module.backward = compile(codegen::lower_backward(source, backward, compiler_.target()));
  module.weights = compile(codegen::lower_weight_gradient(source, backward, accumulates));
  return module;
}

const CompiledKernel& CellKernels::added_weights(ir::CellId id) {
  added_weights_.resize(program_.cells.size());
  const CompiledKernel*& kernel = added_weights_[std::size_t(id)];
  if (!kernel) {
    const ir::BackwardCell& backward = training(id).differentiated.backward;
    const std::vector<bool> accumulates(backward.contributions.size(), true);
    kernel = compile(
        codegen::lower_weight_gradient(program_.cells[std::size_t(id)], backward, accumulates));
  }
  return *kernel;
}

const CompiledKernel& CellKernels::reader_sum(ir::StateId state) {
  reader_sums_.resize(program_.states.size());
  const CompiledKernel*& kernel = reader_sums_[std::size_t(state)];
  if (!kernel) kernel = compile(reader_sum_kernel(program_.states[std::size_t(state)]));
  return *kernel;
}

}  // namespace espalier::runtime
