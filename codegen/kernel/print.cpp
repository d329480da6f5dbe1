#include "codegen/kernel/print.h"

#include <fmt/format.h>

#include <iterator>
#include <string_view>

#include "codegen/kernel/analysis.h"

namespace espalier::codegen {

namespace {

using Out = std::back_insert_iterator<std::string>;

std::string_view name(BufferRole role) {
  switch (role) {
    case BufferRole::state_field:
      return "state_field";
    case BufferRole::own_field:
      return "own_field";
    case BufferRole::cotangent:
      return "cotangent";
    case BufferRole::child_gradient:
      return "child_gradient";
    case BufferRole::residual:
      return "residual";
    case BufferRole::contribution:
      return "contribution";
    case BufferRole::scratch:
      return "scratch";
    case BufferRole::partial:
      return "partial";
    case BufferRole::param:
      return "param";
    case BufferRole::param_gradient:
      return "param_gradient";
    case BufferRole::packed:
      return "packed";
    case BufferRole::port_values:
      return "port_values";
    case BufferRole::port_offsets:
      return "port_offsets";
    case BufferRole::port_owners:
      return "port_owners";
    case BufferRole::port_gradient_rows:
      return "port_gradient_rows";
    case BufferRole::own_rows:
      return "own_rows";
    case BufferRole::row_count:
      return "row_count";
    case BufferRole::random_keys:
      return "random_keys";
  }
  return "?";
}

std::string_view name(ir::Opcode opcode) {
  switch (opcode) {
    case ir::Opcode::constant:
      return "constant";
    case ir::Opcode::add:
      return "add";
    case ir::Opcode::sub:
      return "sub";
    case ir::Opcode::mul:
      return "mul";
    case ir::Opcode::div:
      return "div";
    case ir::Opcode::neg:
      return "neg";
    case ir::Opcode::abs:
      return "abs";
    case ir::Opcode::max:
      return "max";
    case ir::Opcode::min:
      return "min";
    case ir::Opcode::exp:
      return "exp";
    case ir::Opcode::log:
      return "log";
    case ir::Opcode::sqrt:
      return "sqrt";
    case ir::Opcode::tanh:
      return "tanh";
    case ir::Opcode::less:
      return "less";
    case ir::Opcode::equal:
      return "equal";
    case ir::Opcode::select:
      return "select";
  }
  return "?";
}

std::string_view name(Reduction reduction) {
  switch (reduction) {
    case Reduction::sum:
      return "sum";
    case Reduction::max:
      return "max";
    case Reduction::fma:
      return "fma";
    case Reduction::wide_sum:
      return "wide sum";
  }
  return "?";
}

std::string_view name(RowDomain rows) {
  switch (rows) {
    case RowDomain::instances:
      return "instances";
    case RowDomain::children:
      return "children";
    case RowDomain::once:
      return "once";
    case RowDomain::parts:
      return "parts";
    case RowDomain::padding:
      return "padding";
  }
  return "?";
}

void print_buffer(Out out, int i, const Buffer& buffer) {
  fmt::format_to(out, "  b{} = {}({}, {}) row {}", i, name(buffer.role), buffer.a, buffer.b,
                 buffer.row_elements);
  if (buffer.children != ir::per_instance) fmt::format_to(out, " *p{}", buffer.children);
  if (buffer.padded) fmt::format_to(out, " padded");
  if (buffer.bf16) fmt::format_to(out, " bf16");
  fmt::format_to(out, "\n");
}

void print_packing(Out out, int i, const Packing& packing) {
  fmt::format_to(out, "  packing {} = [{}, {}] gates {} lanes {}{}\n", i, packing.m, packing.k,
                 packing.gates, packing.lanes, packing.bf16 ? " bf16" : "");
  for (const Packing::Block& block : packing.blocks)
    fmt::format_to(out, "    at ({}, {}) [{}, {}] of param {}{} at ({}, {}) in columns of {}\n",
                   block.row, block.column, block.rows, block.columns, block.param,
                   block.transposed ? " transposed" : "", block.param_row, block.param_column,
                   block.param_columns);
}

void print_expr(Out out, ExprId id, const Expr& expr) {
  const auto& operands = expr.operands;
  fmt::format_to(out, "  %{} = ", id);
  switch (expr.kind) {
    case ExprKind::integer:
      fmt::format_to(out, "{}", expr.integer);
      break;
    case ExprKind::variable:
      fmt::format_to(out, "v{}", expr.integer);
      break;
    case ExprKind::load_index:
    case ExprKind::load:
      fmt::format_to(out, "b{}[%{}]", expr.buffer, operands[0]);
      break;
    case ExprKind::iadd:
      fmt::format_to(out, "%{} + %{}", operands[0], operands[1]);
      break;
    case ExprKind::imul:
      fmt::format_to(out, "%{} * {}", operands[0], expr.integer);
      break;
    case ExprKind::idiv:
      fmt::format_to(out, "%{} / {}", operands[0], expr.integer);
      break;
    case ExprKind::imod:
      fmt::format_to(out, "%{} mod {}", operands[0], expr.integer);
      break;
    case ExprKind::imin:
      fmt::format_to(out, "least of %{}, %{}", operands[0], operands[1]);
      break;
    case ExprKind::scalar:
      fmt::format_to(out, "{}", name(expr.opcode));
      // As bits exactly, and beside it as people read it.
      if (expr.opcode == ir::Opcode::constant)
        fmt::format_to(out, " {:a} ({})", expr.number, expr.number);
      for (ExprId operand : operands)
        if (operand >= 0) fmt::format_to(out, " %{}", operand);
      break;
    case ExprKind::accumulator:
      fmt::format_to(out, "accumulator {}", expr.integer);
      break;
    case ExprKind::to_float:
      fmt::format_to(out, "to_float %{}", operands[0]);
      break;
    case ExprKind::random:
      fmt::format_to(out, "random b{}[%{}] mask {} counter %{}", expr.buffer, operands[0],
                     expr.integer, operands[1]);
      break;
    case ExprKind::reduce:
      fmt::format_to(out, "{} over v{} from %{} to %{} of %{}", name(expr.reduction), expr.integer,
                     operands[0], operands[1], operands[2]);
      if (expr.reduction == Reduction::fma) fmt::format_to(out, " * %{}", operands[3]);
      if (expr.block != 0) fmt::format_to(out, " in blocks of {}", expr.block);
      break;
  }
  fmt::format_to(out, "\n");
}

void print_library(Out out, const LibraryContraction& p) {
  fmt::format_to(out, ", library's{} b{} ({}) b{} ({}) to b{}[{}] ({}) m {} k {}",
                 p.over_rows ? fmt::format(" over rows {} of", p.rows) : "", p.a, p.a_pitch, p.b,
                 p.b_pitch, p.out, p.out_offset, p.out_pitch, p.m, p.k);
  if (p.accumulates) fmt::format_to(out, " added");
}

void print_stage(Out out, int i, const Stage& stage) {
  fmt::format_to(out, "  stage {}: {}", i, name(stage.rows));
  if (stage.part_rows > 0) fmt::format_to(out, " of {} rows", stage.part_rows);
  if (stage.port >= 0) fmt::format_to(out, " of port {}", stage.port);
  if (stage.row >= 0) fmt::format_to(out, " v{}", stage.row);
  for (std::size_t axis = 0; axis < stage.extents.size(); ++axis)
    fmt::format_to(out, ", v{} < {}", stage.variables[axis], stage.extents[axis]);
  if (stage.vector_reduce) fmt::format_to(out, ", vector reduce");
  if (stage.outer_product) fmt::format_to(out, ", outer product");
  if (stage.joined) fmt::format_to(out, ", joined");
  if (stage.library) print_library(out, *stage.library);
  fmt::format_to(out, "\n");
  if (stage.contraction) {
    const Contraction& contraction = *stage.contraction;
    fmt::format_to(out, "    contract b{} (packing {}) with", contraction.weights,
                   contraction.packing);
    for (const Contraction::Term& term : contraction.terms)
      fmt::format_to(out, " b{}[%{} + k] for k from {} below {};", term.x, term.address,
                     term.k_begin, term.k_begin + term.k_length);
    fmt::format_to(out, "\n");
  }
  for (const Store& store : stage.stores)
    fmt::format_to(out, "    b{}[%{}] := %{}\n", store.buffer, store.address, store.value);
}

}  // namespace

std::string print_kernel(const Kernel& kernel) {
  std::string text;
  const Out out = std::back_inserter(text);
  fmt::format_to(out, "kernel {}, {} variables\n", kernel.name, kernel.variables);
  for (std::size_t i = 0; i < kernel.buffers.size(); ++i)
    print_buffer(out, static_cast<int>(i), kernel.buffers[i]);
  for (std::size_t i = 0; i < kernel.packings.size(); ++i)
    print_packing(out, static_cast<int>(i), kernel.packings[i]);
  for (std::size_t i = 0; i < kernel.exprs.size(); ++i)
    print_expr(out, static_cast<ExprId>(i), kernel.exprs[i]);
  for (std::size_t i = 0; i < kernel.stages.size(); ++i)
    print_stage(out, static_cast<int>(i), kernel.stages[i]);
  return text;
}

}  // namespace espalier::codegen
