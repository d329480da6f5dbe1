#include "runtime/cuda/contraction_trial_kernel.h"

namespace espalier::runtime {
namespace {

using codegen::BufferRole;
using codegen::ContractionShape;
using codegen::Kernel;

/// gradient[i, j] = Σ over rows of left[row, i] · right[row, j], for each term of k.
void outer_products(Kernel& kernel, const ContractionShape& shape) {
  codegen::KernelBuilder b(kernel);
  const std::int64_t k = shape.k();
  const auto left =
      b.buffer({.role = BufferRole::contribution, .row_elements = codegen::row_stride(shape.m)});
  const auto gradient = b.buffer({.role = BufferRole::param_gradient, .row_elements = shape.m * k});
  const auto end =
      b.load_index(b.buffer({.role = BufferRole::row_count, .a = ir::per_instance}), b.integer(0));
  std::int64_t column = 0;
  for (std::size_t t = 0; t < shape.terms.size(); ++t) {
    const std::int64_t stride = codegen::row_stride(shape.terms[t]);
    const auto right =
        b.buffer({.role = BufferRole::state_field, .a = int(t), .row_elements = stride});
    const auto rows = b.buffer({.role = BufferRole::port_values, .a = int(t)});
    codegen::Stage stage;
    stage.rows = codegen::RowDomain::once;
    stage.outer_product = true;
    stage.extents = {shape.m, shape.terms[t]};
    stage.variables = {b.variable(), b.variable()};
    const codegen::VarId row = b.variable();
    const auto i = b.var(stage.variables[0]), j = b.var(stage.variables[1]);
    const auto x = b.load(left, b.add(b.multiply(b.var(row), codegen::row_stride(shape.m)), i));
    const auto y = b.load(right, b.add(b.multiply(b.load_index(rows, b.var(row)), stride), j));
    stage.stores = {
        {gradient, b.add(b.add(b.multiply(i, k), j), b.integer(column)),
         b.reduce(codegen::Reduction::fma, row, b.integer(0), end, x, y, codegen::row_block)}};
    kernel.stages.push_back(std::move(stage));
    column += shape.terms[t];
  }
}

/// out[row] = Σ over gates of tanh(W[gate] · x[row]), where x is a concatenation of gathered terms.
void contraction(Kernel& kernel, const ContractionShape& shape, const codegen::Target& target) {
  codegen::KernelBuilder b(kernel);
  codegen::Packing packing;
  packing.m = shape.m;
  packing.k = shape.k();
  packing.gates = shape.gates;
  packing.lanes = codegen::panel_lanes(target, shape.gates, long(packing.gate_length()));
  kernel.packings = {packing};
  const std::int64_t length = packing.gate_length(), stride = codegen::row_stride(length);
  codegen::Stage stage;
  stage.row = b.variable();
  stage.extents = {length};
  stage.variables = {b.variable()};
  stage.contraction.emplace();
  stage.contraction->packing = 0;
  stage.contraction->weights =
      b.buffer({.role = BufferRole::packed, .row_elements = packing.elements()});
  std::int64_t k = 0;
  for (std::size_t t = 0; t < shape.terms.size(); ++t) {
    const std::int64_t from = codegen::row_stride(shape.terms[t]);
    const auto x = b.buffer({.role = BufferRole::state_field, .a = int(t), .row_elements = from});
    const auto rows = b.buffer({.role = BufferRole::port_values, .a = int(t)});
    stage.contraction->terms.push_back(
        {x, b.multiply(b.load_index(rows, b.var(stage.row)), from), k, shape.terms[t]});
    k += shape.terms[t];
  }
  ir::Scalar sum{&b, b.number(0)};
  for (int gate = 0; gate < shape.gates; ++gate)
    sum = sum + ir::tanh(ir::Scalar{&b, b.accumulator(gate)});
  const auto to = b.buffer({.role = BufferRole::own_field, .row_elements = stride});
  stage.stores = {
      {to, b.add(b.multiply(b.var(stage.row), stride), b.var(stage.variables[0])), sum.id}};
  kernel.stages.push_back(std::move(stage));
}

}  // namespace

Kernel trial_kernel(const ContractionShape& shape, const codegen::Target& target) {
  Kernel kernel;
  kernel.name = "trial";
  if (shape.over_rows)
    outer_products(kernel, shape);
  else
    contraction(kernel, shape, target);
  return kernel;
}

}  // namespace espalier::runtime
