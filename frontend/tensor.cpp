#include "frontend/tensor.h"

#include <vector>

#include "base/error.h"
#include "frontend/trace.h"
#include "ir/op.h"

namespace espalier {

const ir::Param& Param::get() const {
  if (!model_) throw UserError("a Param is used that was never made with Model::param");
  return model_->program.params[id_];
}

const std::string& Param::name() const { return get().name; }
const Shape& Param::shape() const { return get().shape; }

Tensor::Tensor(const Param& param) {
  const ir::Param& record = detail::Inside::get(param);
  trace_ = param.model_->trace;
  if (!trace_)
    throw UserError(
        fmt::format("param '{}' is used outside of the body of a cell of '{}', and without a call",
                    record.name, param.model_->program.name));
  shape_ = record.shape;
  node_ = trace_->builder
              .leaf(ir::OpId::param, {ir::DType::f32, shape_, ir::per_instance},
                    {.ints = {param.id_, 0}})
              .id;
}

const Shape& Tensor::shape() const {
  if (!detail::Inside::is_assigned(*this))
    throw UserError("a Tensor is used that was never assigned");
  return shape_;
}

Tensor constant(double value, const Shape& shape) { return detail::Inside::constant(value, shape); }

namespace detail {

Tensor Inside::tensor(std::shared_ptr<Trace> trace, ir::NodeId node) {
  Tensor tensor;
  tensor.shape_ = trace->builder.node(node).type.shape;
  tensor.trace_ = std::move(trace);
  tensor.node_ = node;
  return tensor;
}

Tensor Inside::constant(double number, const Shape& shape) {
  Tensor tensor;
  tensor.constant_ = true;
  tensor.number_ = number;
  tensor.shape_ = shape;
  return tensor;
}

Tensor Inside::drawn(std::shared_ptr<const Drawn> drawn, const Shape& shape) {
  Tensor tensor;
  tensor.drawn_ = std::move(drawn);
  tensor.shape_ = shape;
  return tensor;
}

Index Inside::index(std::shared_ptr<Trace> trace, ir::NodeId node) {
  Index index;
  index.trace_ = std::move(trace);
  index.node_ = node;
  return index;
}

Tensor Inside::as_tensor(const Index& index) {
  if (!index.trace_) throw UserError("an Index is used that is no port of a cell");
  return tensor(index.trace_, index.node_);
}

ir::Value value_in(const std::shared_ptr<Trace>& trace, const Tensor& tensor) {
  if (Inside::trace(tensor)) return trace->builder.value(Inside::node(tensor));
  const Drawn* const drawn = Inside::drawn(tensor);
  if (!drawn) return trace->builder.constant(Inside::number(tensor), tensor.shape());
  if (drawn->trace.lock() != trace) {
    std::vector<ir::Value> operands;
    for (const Tensor& operand : drawn->operands) operands.push_back(value_in(trace, operand));
    drawn->node = trace->builder.apply(drawn->op, operands, drawn->attributes).id;
    drawn->trace = trace;
  }
  return trace->builder.value(drawn->node);
}

namespace {

Tensor draw(const ir::Op& op, const ir::Attributes& attributes, std::span<const Tensor> operands) {
  auto drawn = std::make_shared<const Drawn>(
      Drawn{op, attributes, {operands.begin(), operands.end()}, {}, -1});
  // On trial in a graph of its own: for the shape, and to refuse what does not fit here.
  const auto trial = std::make_shared<Trace>(
      Trace{ir::GraphBuilder(ir::GraphBuilder::Mode::record, "outside cells"), "outside cells"});
  const ir::Value value = value_in(trial, Inside::drawn(drawn, {}));
  return Inside::drawn(std::move(drawn), value.shape());
}

}  // namespace

Tensor trace_op(std::string_view name, const ir::Attributes& attributes,
                std::span<const Tensor> operands) {
  const ir::Op& op = ir::op(name);
  std::shared_ptr<Trace> trace;
  bool draws = op.id == ir::OpId::dropout;
  for (const Tensor& operand : operands) {
    const auto& other = Inside::trace(operand);
    if (!other) {
      draws = draws || Inside::drawn(operand);
      if (!Inside::is_assigned(operand))
        throw UserError(fmt::format("{}: an operand is a Tensor that was never assigned", name));
      continue;
    }
    if (!other->open)
      throw UserError(
          fmt::format("{}: an operand was kept from the body of cell '{}', whose tracing is over",
                      name, other->cell));
    if (trace && trace != other)
      throw UserError(fmt::format("{}: operands belong to two cells, '{}' and '{}'", name,
                                  trace->cell, other->cell));
    trace = other;
  }
  if (!trace && draws) return draw(op, attributes, operands);
  if (!trace)
    throw UserError(fmt::format(
        "{}: all operands are constants; compute the number in C++ and make it a constant", name));
  std::vector<ir::Value> values;
  for (const Tensor& operand : operands) values.push_back(value_in(trace, operand));
  return Inside::tensor(trace, trace->builder.apply(op, values, attributes).id);
}

}  // namespace detail
}  // namespace espalier
