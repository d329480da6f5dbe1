#include "tests/support/op_cells.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

namespace espalier::test {

using namespace ir;
using Source = OpCase::Source;

namespace {

/// The example's operands, and where they are broadcast the same with one of fewer elements.
std::vector<std::vector<Type>> broadcasts(const Op& op, const std::vector<Type>& operands) {
  std::vector<std::vector<Type>> result{operands};
  const bool fit = op.kind == OpClass::elementwise || op.broadcasts;
  if (!fit || operands.size() < 2) return result;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    const Shape& shape = operands[i].shape;
    if (shape.rank() == 0) continue;
    for (const Shape& smaller : {Shape{}, shape.with(0, 1), shape.without_first()}) {
      result.push_back(operands);
      result.back()[i].shape = smaller;
    }
  }
  return result;
}

bool names_a_port(const Op& op) { return op.attributes.ints[0] == "port"; }

/// All ways to bring the operands.
std::vector<std::vector<Source>> sources(const Op& op, const std::vector<Type>& operands) {
  std::vector<std::vector<Source>> result{{}};
  for (const Type& type : operands) {
    std::vector<Source> choices{Source::child, Source::param};
    if (!names_a_port(op)) choices.push_back(Source::kids);
    if (type.dtype == DType::i32) choices = {Source::index};
    if (type.children != per_instance) choices = {Source::kids};
    std::vector<std::vector<Source>> longer;
    for (const auto& sources : result)
      for (Source choice : choices) {
        longer.push_back(sources);
        longer.back().push_back(choice);
      }
    result = std::move(longer);
  }
  return result;
}

}  // namespace

std::string OpCase::name() const {
  constexpr std::string_view names[] = {"child", "kids", "param", "index"};
  std::string text;
  for (std::size_t i = 0; i < operands.size(); ++i)
    text +=
        fmt::format("{}{} {}", i ? ", " : "", to_string(operands[i].shape), names[int(sources[i])]);
  return fmt::format("{}({})", op->name, text);
}

std::vector<OpCase> op_cases(const Op& op) {
  std::vector<OpCase> cases;
  for (const Op::Example& example : op.examples)
    for (const auto& operands : broadcasts(op, example.operands))
      for (const auto& sources : sources(op, operands)) {
        const bool mixed =
            std::ranges::adjacent_find(sources, std::not_equal_to()) != sources.end();
        if (mixed && operands != example.operands && operands.size() > 2) continue;  // too many
        cases.push_back({&op, operands, example.attributes, sources});
      }
  return cases;
}

Program op_program(const OpCase& of) {
  Program program;
  program.name = std::string(of.op->name);
  State kids{"Kids", {}};
  Cell cell{"op", {{"kids", PortKind::children, 0}}, -1, {}, {}};
  GraphBuilder builder(GraphBuilder::Mode::record, "in cell 'op'");
  const auto kid = [&](const Shape& shape) {
    kids.fields.push_back({DType::f32, shape, per_instance});
    return builder.leaf(ir::OpId::port, {DType::f32, shape, 0},
                        {.ints = {0, int(kids.fields.size()) - 1}});
  };
  program.states.push_back({});
  std::vector<Value> operands;
  for (std::size_t i = 0; i < of.operands.size(); ++i) {
    Type type = of.operands[i];
    type.children = per_instance;
    const std::string name = fmt::format("x{}", i);
    switch (of.sources[i]) {
      case Source::kids:
        operands.push_back(kid(type.shape));
        break;
      case Source::param:
        operands.push_back(
            builder.leaf(ir::OpId::param, type, {.ints = {int(program.params.size()), 0}}));
        program.params.push_back({name, type.shape, {}});
        break;
      case Source::child:
        program.states.push_back({"State" + name, {type}});
        cell.ports.push_back({name, PortKind::child, StateId(program.states.size()) - 1});
        operands.push_back(
            builder.leaf(ir::OpId::port, type, {.ints = {int(cell.ports.size()) - 1, 0}}));
        break;
      case Source::index:
        cell.ports.push_back({name, PortKind::index, -1});
        operands.push_back(
            builder.leaf(ir::OpId::port, type, {.ints = {int(cell.ports.size()) - 1, 0}}));
        break;
    }
  }
  Value result = builder.apply(*of.op, operands, of.attributes);
  if (result.type().children != per_instance)
    result = builder.apply(ir::OpId::sum_children, {result * kid(result.shape())});
  if (kids.fields.empty()) kid({});  // a state has a field
  program.states[0] = kids;
  program.states.push_back({"Result", {result.type()}});
  cell.state = StateId(program.states.size()) - 1;
  cell.outputs = {result.id};
  cell.graph = builder.finish(cell.outputs);
  program.cells.push_back(std::move(cell));
  return program;
}

CellInputs op_inputs(const OpCase& of, const Program& program, Random& random, int children,
                     double range) {
  CellInputs inputs = random_inputs(program, program.cells[0], random, 1, children);
  int port = 0, param = 0, field = 0;
  for (std::size_t i = 0; i < of.operands.size(); ++i) {
    const Interval& domain = of.op->domain[std::min(i, of.op->domain.size() - 1)];
    const double low = std::max(domain.low, -range), high = std::min(domain.high, range);
    const double margin = 0.1 * (high - low);
    std::vector<double>* data = nullptr;
    if (of.sources[i] == Source::param)
      data = &inputs.params[param++];
    else if (of.sources[i] == Source::kids)
      data = &inputs.ports.at({0, field++});
    else
      data = &inputs.ports.at({++port, 0});
    *data = random.reals(data->size(), low + margin, high - margin);
    if (of.sources[i] == Source::index)
      (*data)[0] = int(domain.low) + random.integer(int(domain.high - domain.low) + 1);
  }
  return inputs;
}

}  // namespace espalier::test
