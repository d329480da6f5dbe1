#include "tests/support/cells.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "ir/op.h"
#include "ir/passes/gradient.h"
#include "ir/passes/simplify.h"
#include "ir/text/print.h"
#include "ir/verify.h"

namespace espalier::test {
namespace {

using namespace ir;

std::vector<double> mask(const Node& node, const CellInputs& inputs) {
  const bool mapped = node.type.children != per_instance;
  const std::int64_t size = node.type.shape.size();
  const int number = node.attributes.ints[0];
  std::vector<double> result;
  for (int child = 0; child < (mapped ? inputs.children[node.type.children] : 1); ++child)
    for (std::int64_t i = 0; i < size; ++i) {
      const bool drop = inputs.uniform ? inputs.uniform(number, child, i) < node.attributes.number
                                       : (child * size + i + number) % 3 == 0;
      result.push_back(drop ? 0 : 1 / (1 - node.attributes.number));
    }
  return result;
}

double objective(const Cell& cell, const CellInputs& inputs,
                 const std::vector<std::vector<double>>& cotangents) {
  const auto values = outputs(cell, inputs);
  double sum = 0;
  for (std::size_t field = 0; field < cotangents.size(); ++field)
    for (std::size_t i = 0; i < cotangents[field].size(); ++i)
      sum += cotangents[field][i] * values[field][i];
  return sum;
}

/// Adds one contribution to the gradient of its param.
void accumulate(const ParamContribution& c, const std::vector<Array>& values,
                const CellInputs& inputs, std::vector<double>& gradient) {
  const Array& left = values[c.left];
  const std::size_t size = left.shape.size();
  for (int child = 0; child < left.count(); ++child) {
    const double* l = left.data.data() + child * size;
    std::size_t begin = 0;
    if (c.kind == ParamContribution::Kind::rows)
      begin = static_cast<std::size_t>(inputs.ports.at({c.index_port, 0})[0]) * size;
    if (c.kind != ParamContribution::Kind::outer) {
      for (std::size_t i = 0; i < size; ++i) gradient[begin + i] += l[i];
      continue;
    }
    const Array& right = values[c.right];
    const double* r = right.data.data() + child * std::size_t(right.shape.size());
    const std::size_t terms = left.shape.rank() == 2 ? left.shape[0] : 1;
    const std::size_t rows = size / terms, columns = std::size_t(right.shape.size()) / terms;
    for (std::size_t t = 0; t < terms; ++t)
      for (std::size_t i = 0; i < rows; ++i)
        for (std::size_t j = 0; j < columns; ++j)
          gradient[i * columns + j] += l[t * rows + i] * r[t * columns + j];
  }
}

/// Compares an analytic gradient with central differences; `x` is part of `inputs`.
class Comparison {
 public:
  Comparison(const Cell& cell, CellInputs& inputs,
             const std::vector<std::vector<double>>& cotangents, Random& random)
      : cell_(cell), inputs_(inputs), cotangents_(cotangents), random_(random) {}

  void run(std::vector<double>& x, const std::vector<double>& gradient, const std::string& name) {
    ASSERT_EQ(x.size(), gradient.size()) << name;
    // Of a large tensor every so many coordinates, from somewhere.
    const std::size_t stride = 1 + x.size() / 10;
    for (std::size_t i = random_.integer(int(stride)); i < x.size(); i += stride) {
      constexpr double h = 1e-5;
      const double middle = at(x[i], 0), high = at(x[i], h), low = at(x[i], -h);
      const double slope = (high - low) / (2 * h);
      const double bend = std::abs(high - 2 * middle + low) / h;  // jump of the slope at a kink
      ++coordinates;
      if (bend > 1e-2 * (1 + std::abs(slope))) {
        ++kinks;
        continue;
      }
      const double scale = 1 + std::abs(slope) + std::abs(gradient[i]);
      ASSERT_NEAR(gradient[i], slope, 2e-6 * scale) << name << " at " << i;
    }
  }

  int coordinates = 0, kinks = 0;

 private:
  double at(double& x, double step) {
    const double kept = x;
    x += step;
    const double result = objective(cell_, inputs_, cotangents_);
    x = kept;
    return result;
  }

  const Cell& cell_;
  CellInputs& inputs_;
  const std::vector<std::vector<double>>& cotangents_;
  Random& random_;
};

}  // namespace

CellInputs random_inputs(const Program& program, const Cell& cell, Random& random, int index_bound,
                         int children, double range) {
  CellInputs inputs;
  for (int port = 0; port < int(cell.ports.size()); ++port) {
    const Port& of = cell.ports[port];
    inputs.children.push_back(of.kind == PortKind::children ? children : 0);
    if (of.kind == PortKind::index) {
      inputs.ports[{port, 0}] = {double(random.integer(index_bound))};
      continue;
    }
    const auto& fields = program.states[of.state].fields;
    const int count = of.kind == PortKind::children ? children : 1;
    for (int field = 0; field < int(fields.size()); ++field)
      inputs.ports[{port, field}] = random.reals(fields[field].shape.size() * count, -range, range);
  }
  for (const Param& param : program.params)
    inputs.params.push_back(random.reals(param.shape.size(), -range, range));
  return inputs;
}

LeafData leaves(const CellInputs& inputs) {
  return [&inputs](const Node& node) -> std::vector<double> {
    const auto& ints = node.attributes.ints;
    if (node.op->id == ir::OpId::port) return inputs.ports.at({ints[0], ints[1]});
    if (node.op->id == ir::OpId::param) return inputs.params.at(ints[0]);
    internal_check(node.op->id == ir::OpId::dropout_mask, "no data for '{}'", node.op->name);
    return mask(node, inputs);
  };
}

std::vector<Array> evaluate(const Graph& graph, const CellInputs& inputs) {
  return ir::evaluate(graph, inputs.children, leaves(inputs));
}

std::vector<std::vector<double>> outputs(const Cell& cell, const CellInputs& inputs) {
  const auto values = evaluate(cell.graph, inputs);
  std::vector<std::vector<double>> result;
  for (NodeId output : cell.outputs) result.push_back(values[output].data);
  return result;
}

Gradients backward(const Program& program, const Differentiated& cell, const CellInputs& inputs,
                   const std::vector<std::vector<double>>& cotangents) {
  const auto forward = outputs(cell.forward, inputs);
  const std::size_t fields = program.states[cell.forward.state].fields.size();
  const LeafData ports_and_params = leaves(inputs);
  const auto values = ir::evaluate(cell.backward.graph, inputs.children, [&](const Node& node) {
    const std::size_t position = node.attributes.ints[0];
    if (node.op->id == ir::OpId::cotangent) return cotangents.at(position);
    if (node.op->id == ir::OpId::output) return forward.at(position);
    if (node.op->id == ir::OpId::residual) return forward.at(fields + position);
    return ports_and_params(node);
  });
  Gradients result;
  for (const ChildGradient& gradient : cell.backward.child_gradients)
    result.ports[{gradient.port, gradient.field}] = values[gradient.output].data;
  for (const Param& param : program.params) result.params.emplace_back(param.shape.size(), 0.0);
  for (const ParamContribution& c : cell.backward.contributions)
    accumulate(c, values, inputs, result.params[c.param]);
  return result;
}

void check_gradients(const Program& program, const Cell& cell, const CellInputs& inputs,
                     Random& random, double kinks) {
  SCOPED_TRACE(print(cell, program));
  const Cell simple = simplify(cell);
  ASSERT_NO_THROW(verify(simple, program));
  const Differentiated both = differentiate(program, simple);
  SCOPED_TRACE(print(both, program));
  ASSERT_NO_THROW(verify(both, program));

  std::vector<std::vector<double>> cotangents;
  for (const Type& field : program.states[cell.state].fields)
    cotangents.push_back(random.reals(field.shape.size(), -1, 1));
  const Gradients gradients = backward(program, both, inputs, cotangents);

  CellInputs moved = inputs;
  Comparison comparison(cell, moved, cotangents, random);
  for (const auto& [key, gradient] : gradients.ports)
    comparison.run(moved.ports.at(key), gradient,
                   fmt::format("port {}.{}", cell.ports[key.first].name, key.second));
  for (std::size_t param = 0; param < gradients.params.size(); ++param)
    comparison.run(moved.params[param], gradients.params[param],
                   "param " + program.params[param].name);
  EXPECT_LE(comparison.kinks, kinks * comparison.coordinates) << "coordinates at kinks";
}

}  // namespace espalier::test
