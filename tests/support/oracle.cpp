#include "tests/support/oracle.h"

#include <bit>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "ir/build.h"
#include "ir/evaluate.h"
#include "ir/op.h"
#include "ir/passes/gradient.h"
#include "ir/passes/simplify.h"
#include "tests/support/rounding.h"

namespace espalier::test {

using ir::InstanceGraph;
using ir::InstanceId;
using ir::Node;
using ir::PortKind;
using Tensor = Oracle::Tensor;
using Tensors = Oracle::Tensors;

/// What the leaves of one instance's graph read.
class Oracle::Reader {
 public:
  Reader(const Oracle& oracle, const InstanceGraph& graph, InstanceId instance,
         const std::vector<Tensors>& values)
      : oracle_(oracle), values_(values), stream_(graph.stream(instance)) {
    const ir::Cell& cell = oracle.program_.cells[graph.cell(instance)];
    if (ir::is_input(cell))
      for (const std::int32_t bits : graph.indices(instance))
        recorded_.push_back(std::bit_cast<float>(bits));
    auto operand = graph.operands(instance).begin();
    auto index = graph.indices(instance).begin();
    for (const ir::Port& port : cell.ports) {
      const int number = port.kind == PortKind::child ? 1 : *index++;
      indices.push_back(number);
      const std::ptrdiff_t count = port.kind == PortKind::index ? 0 : number;
      operands.emplace_back(operand, operand + count);
      operand += count;
    }
  }

  ir::LeafData leaf() const {
    return [this](const Node& node) { return read(node); };
  }

  std::vector<int> indices;                       ///< port → index, or number of operands
  std::vector<std::vector<InstanceId>> operands;  ///< port → instances
  Tensors residuals, cotangents;                  ///< of backward cells
  Tensors outputs;

 private:
  Tensor read(const Node& node) const {
    const auto [first, second] = node.attributes.ints;
    if (node.op->id == ir::OpId::param) return oracle_.params_[first];
    if (node.op->id == ir::OpId::residual) return residuals[first];
    if (node.op->id == ir::OpId::cotangent) return cotangents[first];
    if (node.op->id == ir::OpId::output) return outputs[first];
    if (node.op->id == ir::OpId::dropout_mask) return mask(node);
    if (node.op->id == ir::OpId::input) {
      // Fields lie one after the other; a test has one.
      if (first != 0) throw std::logic_error("oracle: an input of several fields");
      return recorded_;
    }
    if (node.op->id != ir::OpId::port)
      throw std::logic_error("oracle: no data for leaf " + std::string(node.op->name));
    if (node.type.dtype == ir::DType::i32) return {static_cast<double>(indices[first])};
    Tensor all;
    for (InstanceId from : operands[first])
      all.insert(all.end(), values_[from][second].begin(), values_[from][second].end());
    return all;
  }

  Tensor mask(const Node& node) const {
    const bool each = node.type.children != ir::per_instance;
    const int count = each ? indices[node.type.children] : 1;
    Tensor all;
    InstanceGraph::Stream stream = stream_;
    for (int child = 0; child < count; ++child, ++stream.element)
      for (std::int64_t i = 0; i < node.type.shape.size(); ++i)
        all.push_back(oracle_.mask_ ? oracle_.mask_(stream, node.attributes.ints[0],
                                                    node.attributes.number, i)
                                    : 1.0);
    return all;
  }

  const Oracle& oracle_;
  const std::vector<Tensors>& values_;
  InstanceGraph::Stream stream_;
  Tensor recorded_;
};

namespace {

void add(Tensor& to, std::span<const double> from, double factor = 1) {
  if (to.size() != from.size()) throw std::logic_error("oracle: sizes of gradients differ");
  for (std::size_t i = 0; i < to.size(); ++i) to[i] += factor * from[i];
}

/// The part of a value that belongs to child `child`.
std::span<const double> part(const ir::Array& array, int child) {
  const auto size = static_cast<std::size_t>(array.shape.size());
  const std::size_t begin = array.children < 0 ? 0 : static_cast<std::size_t>(child) * size;
  return std::span(array.data).subspan(begin, size);
}

/// Adds the contribution, or the sizes of its terms.
void contribute(const ir::ParamContribution& c, const std::vector<ir::Array>& values,
                const std::vector<int>& indices, Tensor& gradient, bool sizes) {
  using Kind = ir::ParamContribution::Kind;
  const auto term = [sizes](double x) { return sizes ? std::abs(x) : x; };
  const ir::Array& left = values[c.left];
  for (int child = 0; child < left.count(); ++child) {
    const auto l = part(left, child);
    switch (c.kind) {
      case Kind::sum:
        for (std::size_t i = 0; i < l.size(); ++i) gradient[i] += term(l[i]);
        break;
      case Kind::rows: {
        const auto row = static_cast<std::size_t>(indices[c.index_port]) * l.size();
        for (std::size_t i = 0; i < l.size(); ++i) gradient[row + i] += term(l[i]);
        break;
      }
      case Kind::outer: {
        const auto r = part(values[c.right], child);
        const auto terms = static_cast<std::size_t>(left.shape.rank() == 2 ? left.shape[0] : 1);
        const std::size_t m = l.size() / terms, n = r.size() / terms;
        for (std::size_t t = 0; t < terms; ++t)
          for (std::size_t i = 0; i < m; ++i)
            for (std::size_t k = 0; k < n; ++k)
              gradient[i * n + k] += term(l[t * m + i] * r[t * n + k]);
        break;
      }
    }
  }
}

}  // namespace

Oracle::Oracle(const ir::Program& program, Tensors params, Mask mask)
    : program_(program), params_(std::move(params)), mask_(std::move(mask)) {
  if (params_.size() != program.params.size())
    throw std::logic_error("oracle: wrong number of params");
}

std::vector<ir::Array> Oracle::evaluate(const ir::Graph& graph, const Reader& reader) const {
  return salt_ == 0 ? ir::evaluate(graph, reader.indices, reader.leaf())
                    : evaluate_rounded(graph, reader.indices, reader.leaf(), salt_);
}

std::vector<Tensors> Oracle::forward(const InstanceGraph& graph) const {
  std::vector<Tensors> values;
  for (InstanceId i = 0; i < graph.size(); ++i) {
    const ir::Cell& cell = program_.cells[graph.cell(i)];
    const Reader reader(*this, graph, i, values);
    const auto nodes = evaluate(cell.graph, reader);
    Tensors fields;
    for (ir::NodeId output : cell.outputs) fields.push_back(nodes[output].data);
    values.push_back(std::move(fields));
  }
  return values;
}

double Oracle::loss(const InstanceGraph& graph, std::span<const InstanceId> losses,
                    double scale) const {
  const std::vector<Tensors> values = forward(graph);
  double sum = 0;
  for (InstanceId loss : losses) sum += values[loss].at(0).at(0);
  return scale * sum;
}

const ir::Differentiated& Oracle::differentiated(ir::CellId cell) {
  auto found = differentiated_.find(cell);
  if (found == differentiated_.end())
    found = differentiated_
                .emplace(cell, ir::differentiate(program_, ir::simplify(program_.cells[cell])))
                .first;
  return found->second;
}

Tensors Oracle::gradients(const InstanceGraph& graph, std::span<const InstanceId> losses,
                          double scale, Tensors* sizes) {
  const std::vector<Tensors> values = forward(graph);
  std::vector<Tensors> cotangents = values;
  for (Tensors& fields : cotangents)
    for (Tensor& field : fields) field.assign(field.size(), 0.0);
  for (InstanceId loss : losses) cotangents[loss].at(0).at(0) += scale;
  Tensors gradients = params_;
  for (Tensor& gradient : gradients) gradient.assign(gradient.size(), 0.0);
  if (sizes) *sizes = gradients;

  for (InstanceId i = static_cast<InstanceId>(graph.size()); i-- > 0;) {
    const ir::Differentiated& cell = differentiated(graph.cell(i));
    Reader reader(*this, graph, i, values);
    const auto forward = evaluate(cell.forward.graph, reader);
    for (std::size_t k = values[i].size(); k < cell.forward.outputs.size(); ++k)
      reader.residuals.push_back(forward[cell.forward.outputs[k]].data);
    reader.outputs = values[i];
    reader.cotangents = cotangents[i];
    const auto backward = evaluate(cell.backward.graph, reader);
    for (const ir::ChildGradient& g : cell.backward.child_gradients)
      for (std::size_t child = 0; child < reader.operands[g.port].size(); ++child)
        add(cotangents[reader.operands[g.port][child]][g.field],
            part(backward[g.output], static_cast<int>(child)));
    for (const ir::ParamContribution& c : cell.backward.contributions) {
      contribute(c, backward, reader.indices, gradients[c.param], false);
      if (sizes) contribute(c, backward, reader.indices, (*sizes)[c.param], true);
    }
  }
  return gradients;
}

}  // namespace espalier::test
