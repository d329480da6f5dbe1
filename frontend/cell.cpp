#include "frontend/cell.h"

#include <utility>

#include "base/error.h"
#include "ir/op.h"
#include "ir/record/recorder.h"

namespace espalier::detail {
namespace {

ir::Recorder& recorder_of(const ir::CallHandle& call) {
  if (!call.recorder) throw UserError("a Call is used before it was assigned");
  return *call.recorder;
}

}  // namespace

const Shape& shape_of(const ir::CallHandle& call) {
  const ir::Recorder& recorder = recorder_of(call);
  return recorder.source().states[recorder.state(recorder.resolve(call))].fields[0].shape;
}

ir::CallHandle field_of(const ir::CallHandle& call, int field) {
  ir::Recorder& recorder = recorder_of(call);
  const ir::CallId id = recorder.resolve(call);
  return recorder.handle(
      recorder.call(recorder.field_cell(recorder.state(id), field), std::span(&id, 1), {}));
}

RowNumber row_number(std::int64_t value) {
  if (!std::in_range<std::int32_t>(value))
    throw UserError(fmt::format("the index {} does not fit in 32 bits", value));
  return {static_cast<std::int32_t>(value)};
}

CallOperand::CallOperand(const Call<Tensor>& call) : call(call) {
  const ir::Recorder& recorder = recorder_of(call);
  operand.id = recorder.state(recorder.resolve(call));
}

CallOperand::CallOperand(const Param& param) {
  // The shape lets record_op recognize a param of another model.
  operand = {ir::OpOperand::Kind::param, param.id(), param.shape()};
}

CallOperand::CallOperand(double number) : number(number) {
  operand.kind = ir::OpOperand::Kind::number;
}

CallOperand::CallOperand(RowNumber row) : index(row.value) {
  operand.kind = ir::OpOperand::Kind::index;
}

CallOperand::CallOperand(const Tensor& tensor) {
  if (Inside::drawn(tensor))
    throw UserError(
        "dropout of a constant is combined with a Call; use the dropout inside a cell instead");
  if (!Inside::is_constant(tensor))
    throw UserError("a Tensor of a cell's body is used with a Call, outside of the body");
  operand = {ir::OpOperand::Kind::number, -1, tensor.shape()};
  number = Inside::number(tensor);
}

CallOperand::CallOperand(const Index&) {
  throw UserError("an Index of a cell's body is used with a Call, outside of the body");
}

ir::CallHandle record_op(std::string_view name, const ir::Attributes& attributes,
                         std::span<const CallOperand> operands) {
  const ir::Op& op = ir::op(name);
  ir::Recorder* recorder = nullptr;
  for (const CallOperand& operand : operands) {
    if (operand.operand.kind != ir::OpOperand::Kind::call) continue;
    if (!recorder) recorder = operand.call.recorder;
    recorder->resolve(operand.call);  // before op_cell reads the states of this recorder's program
  }
  internal_check(recorder != nullptr, "{}: no operand is a call", name);
  ListedArguments list(recorder->lists());
  auto& kinds = list.lists.op_operands;
  kinds.clear();
  for (const CallOperand& operand : operands) kinds.push_back(operand.operand);
  const ir::CellId cell = recorder->op_cell(op, attributes, kinds);
  for (const CallOperand& operand : operands) {
    switch (operand.operand.kind) {
      case ir::OpOperand::Kind::call:
        list.operand(recorder->resolve(operand.call));
        break;
      case ir::OpOperand::Kind::number:
        list.operand(recorder->number(static_cast<float>(operand.number)));
        break;
      case ir::OpOperand::Kind::index:
        list.index(operand.index);
        break;
      case ir::OpOperand::Kind::param:
        break;
    }
  }
  return recorder->handle(recorder->call(cell, list.operands(), list.indices()));
}

}  // namespace espalier::detail
