#include "frontend/trace.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "ir/build.h"
#include "ir/op.h"

namespace espalier::detail {
namespace {

bool is_name(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '-' || c == '.';
  });
}

}  // namespace

void check_name(std::string_view what, std::string_view name) {
  user_check(is_name(name), "a {} is named with letters, digits and '_-.', found '{}'", what, name);
}

CellTracer::CellTracer(ModelData& model, std::string name)
    : model_(model), states_before_(model.program.states.size()) {
  check_name("cell", name);
  const bool taken =
      std::ranges::any_of(model.program.cells, [&](const ir::Cell& c) { return c.name == name; });
  user_check(!taken, "model '{}' has a cell '{}' already", model.program.name, name);
  if (model.trace)
    throw UserError(
        fmt::format("cell '{}' is made inside the body of cell '{}'", name, model.trace->cell));
  cell_.name = name;
  trace_ = std::make_shared<Trace>(
      Trace{ir::GraphBuilder(ir::GraphBuilder::Mode::record, "in cell '" + name + "'"), name});
  trace_->builder.describe = [this](const ir::Node& node) { return describe(node); };
  model_.trace = trace_;
}

CellTracer::~CellTracer() {
  trace_->open = false;
  trace_->builder.describe = nullptr;
  model_.trace = nullptr;
  if (!finished_) model_.program.states.resize(states_before_);
}

std::string CellTracer::describe(const ir::Node& node) const {
  const auto& ints = node.attributes.ints;
  if (node.op->id == ir::OpId::param) return "param '" + model_.program.params[ints[0]].name + "'";
  if (node.op->id != ir::OpId::port) return "";
  const ir::Port& port = cell_.ports[ints[0]];
  const std::string name = "port '" + port.name + "'";
  const bool one_field =
      port.kind == ir::PortKind::index || model_.program.states[port.state].fields.size() == 1;
  return one_field ? name : fmt::format("field {} of {}", ints[1], name);
}

Index CellTracer::index_port() {
  const int port = ir::add_port(cell_, ir::PortKind::index, -1);
  return Inside::index(
      trace_, trace_->builder
                  .leaf(ir::OpId::port, {ir::DType::i32, {}, ir::per_instance}, {.ints = {port, 0}})
                  .id);
}

std::vector<Tensor> CellTracer::state_port(ir::PortKind kind, ir::StateId state) {
  const int port = ir::add_port(cell_, kind, state);
  std::vector<Tensor> fields;
  for (ir::Type type : model_.program.states[state].fields) {
    if (kind == ir::PortKind::children) type.children = static_cast<std::int8_t>(port);
    const int field = static_cast<int>(fields.size());
    fields.push_back(Inside::tensor(
        trace_, trace_->builder.leaf(ir::OpId::port, type, {.ints = {port, field}}).id));
  }
  return fields;
}

ir::StateId CellTracer::state_of(std::type_index type, std::string_view type_name) const {
  const auto found = model_.states.find(type);
  if (found == model_.states.end())
    throw UserError(fmt::format(
        "cell '{}' uses the state '{}', whose shapes are not declared: call declare_state first",
        cell_.name, type_name));
  return found->second;
}

ir::StateId CellTracer::state_of(const Shape& shape) {
  return ir::tensor_state(model_.program, {ir::DType::f32, shape, ir::per_instance});
}

Shape CellTracer::output_shape(const Tensor& output) const {
  if (!Inside::is_assigned(output))
    throw UserError(fmt::format("cell '{}' returns a Tensor that was never assigned", cell_.name));
  return output.shape();
}

ir::CellId CellTracer::finish(ir::StateId state, std::span<const Tensor> outputs) {
  const ir::State& expected = model_.program.states[state];
  internal_check(outputs.size() == expected.fields.size(), "cell '{}' returns {} tensors of {}",
                 cell_.name, outputs.size(), expected.fields.size());
  for (std::size_t field = 0; field < outputs.size(); ++field) {
    const Tensor& output = outputs[field];
    const Shape shape = output_shape(output);
    const auto fail = [&](const std::string& what) {
      throw UserError(fmt::format("cell '{}' returns a '{}' whose field {} {}", cell_.name,
                                  expected.name, field, what));
    };
    if (shape != expected.fields[field].shape)
      fail(fmt::format("is {}, declared {}", to_string(shape),
                       to_string(expected.fields[field].shape)));
    if (const auto& trace = Inside::trace(output)) {
      if (trace != trace_) fail("was kept from the body of cell '" + trace->cell + "'");
      if (trace_->builder.node(Inside::node(output)).type.children != ir::per_instance)
        fail("exists once per child: combine it first, e.g. with sum_children");
      cell_.outputs.push_back(Inside::node(output));
    } else {
      cell_.outputs.push_back(value_in(trace_, output).id);
    }
  }
  cell_.state = state;
  cell_.graph = trace_->builder.finish(cell_.outputs);
  model_.program.cells.push_back(std::move(cell_));
  finished_ = true;
  return static_cast<ir::CellId>(model_.program.cells.size()) - 1;
}

}  // namespace espalier::detail
