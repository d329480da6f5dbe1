#include "tests/support/random_frontend.h"

#include <fmt/format.h>

#include <functional>
#include <map>
#include <string>
#include <type_traits>

#include "frontend/model.h"
#include "frontend/trace.h"
#include "ir/op.h"
#include "ir/text/print.h"
#include "ir/verify.h"
#include "tests/support/random_programs.h"

namespace espalier::test {

namespace {

using Line = BodyScript::Line;
using Tensors = std::vector<Tensor>;

// States of one to three fields.
struct StateOne {
  Tensor a;
};
struct StateTwo {
  Tensor a, b;
};
struct StateThree {
  Tensor a, b, c;
};
struct WideOne {
  Tensor a;
};
struct WideTwo {
  Tensor a, b;
};
struct WideThree {
  Tensor a, b, c;
};
struct Loss {
  Tensor value;
};

/// What a body's arguments are, port by port.
struct Arguments {
  std::vector<Index> indices;   // by port
  std::vector<Tensors> fields;  // by port

  void add(const Index& index) {
    indices.push_back(index);
    fields.emplace_back();
  }
  template <class S>
  void add(const Children<S>& children) {
    add(static_cast<const S&>(children));
  }
  template <class S>
    requires detail::StateStruct<S>
  void add(const S& state) {
    indices.emplace_back();
    Tensors& list = fields.emplace_back();
    for (const Tensor* field : detail::fields_of(state)) list.push_back(*field);
  }
};

template <int axis>
Tensor concat_along(const Tensors& x) {
  switch (x.size()) {
    case 1:
      return concat<axis>(x[0]);
    case 2:
      return concat<axis>(x[0], x[1]);
    case 3:
      return concat<axis>(x[0], x[1], x[2]);
    default:
      return concat<axis>(x[0], x[1], x[2], x[3]);
  }
}

Tensor concat_along(int axis, const Tensors& x) {
  switch (axis) {
    case 0:
      return concat_along<0>(x);
    case 1:
      return concat_along<1>(x);
    case 2:
      return concat_along<2>(x);
    default:
      return concat_along<3>(x);
  }
}

/// The function of frontend/ops.h by the name of its op. Operands that are an Index come apart.
using Write = std::function<Tensor(const Tensors& x, const Index& index, const ir::Attributes& a)>;

const std::map<std::string_view, Write>& functions() {
  using A = const ir::Attributes&;
  using X = const Tensors&;
  using I = const Index&;
  static const std::map<std::string_view, Write> table = {
      {"add", [](X x, I, A) { return x[0] + x[1]; }},
      {"sub", [](X x, I, A) { return x[0] - x[1]; }},
      {"mul", [](X x, I, A) { return x[0] * x[1]; }},
      {"div", [](X x, I, A) { return x[0] / x[1]; }},
      {"max", [](X x, I, A) { return max(x[0], x[1]); }},
      {"min", [](X x, I, A) { return min(x[0], x[1]); }},
      {"neg", [](X x, I, A) { return -x[0]; }},
      {"abs", [](X x, I, A) { return abs(x[0]); }},
      {"exp", [](X x, I, A) { return exp(x[0]); }},
      {"log", [](X x, I, A) { return log(x[0]); }},
      {"sqrt", [](X x, I, A) { return sqrt(x[0]); }},
      {"tanh", [](X x, I, A) { return tanh(x[0]); }},
      {"sigmoid", [](X x, I, A) { return sigmoid(x[0]); }},
      {"relu", [](X x, I, A) { return relu(x[0]); }},
      {"softplus", [](X x, I, A) { return softplus(x[0]); }},
      {"gelu", [](X x, I, A) { return gelu(x[0]); }},
      {"stop_gradient", [](X x, I, A) { return stop_gradient(x[0]); }},
      {"less", [](X x, I, A) { return less(x[0], x[1]); }},
      {"equal", [](X x, I, A) { return equal(x[0], x[1]); }},
      {"where", [](X x, I, A) { return where(x[0], x[1], x[2]); }},
      {"sum", [](X x, I, A a) { return sum(x[0], a.ints[0]); }},
      {"max_over", [](X x, I, A a) { return max_over(x[0], a.ints[0]); }},
      {"sum_children", [](X x, I, A) { return sum_children(x[0]); }},
      {"max_children", [](X x, I, A) { return max_children(x[0]); }},
      {"slice", [](X x, I, A a) { return slice(x[0], a.ints[1], a.shape[a.ints[0]], a.ints[0]); }},
      {"concat", [](X x, I, A a) { return concat_along(a.ints[0], x); }},
      {"reshape", [](X x, I, A a) { return reshape(x[0], a.shape); }},
      {"transpose", [](X x, I, A) { return transpose(x[0]); }},
      {"broadcast", [](X x, I, A a) { return broadcast(x[0], a.shape); }},
      {"row", [](X x, I index, A) { return row(x[0], index); }},
      {"matmul", [](X x, I, A) { return matmul(x[0], x[1]); }},
      {"outer", [](X x, I, A) { return outer(x[0], x[1]); }},
      {"softmax", [](X x, I, A) { return softmax(x[0]); }},
      {"log_softmax", [](X x, I, A) { return log_softmax(x[0]); }},
      {"softmax_children", [](X x, I, A) { return softmax_children(x[0]); }},
      {"mean", [](X x, I, A a) { return mean(x[0], a.ints[0]); }},
      {"mean_children", [](X x, I, A) { return mean_children(x[0]); }},
      {"one_hot", [](X, I index, A a) { return one_hot(index, a.shape[0]); }},
      {"cross_entropy", [](X x, I index, A) { return cross_entropy(x[0], index); }},
      {"binary_cross_entropy", [](X x, I, A) { return binary_cross_entropy(x[0], x[1]); }},
      {"squared_error", [](X x, I, A) { return squared_error(x[0], x[1]); }},
      {"layer_norm", [](X x, I, A) { return layer_norm(x[0], x[1], x[2]); }},
      {"bilinear", [](X x, I, A) { return bilinear(x[0], x[1], x[2]); }},
      {"dropout", [](X x, I, A a) { return dropout(x[0], a.number); }},
  };
  return table;
}

/// Writes a body once more, line by line.
class Body {
 public:
  Body(const BodyScript& script, const std::vector<Param>& params, const Arguments& arguments)
      : script_(script), params_(params), arguments_(arguments) {}

  Tensors run() {
    for (const Line& line : script_.lines) {
      indices_.emplace_back();
      values_.emplace_back();
      values_.back() = write(line);
    }
    Tensors outputs;
    for (const int line : script_.outputs) outputs.push_back(values_[std::size_t(line)]);
    return outputs;
  }

 private:
  Tensor write(const Line& line) {
    const auto [first, second] = line.attributes.ints;
    if (line.op->id == ir::OpId::param) return params_[std::size_t(first)];
    if (line.op->id == ir::OpId::constant) return constant(line.attributes.number, line.type.shape);
    if (line.op->id == ir::OpId::port) {
      if (line.type.dtype == ir::DType::f32)
        return arguments_.fields[std::size_t(first)][std::size_t(second)];
      indices_.back() = arguments_.indices[std::size_t(first)];
      return detail::Inside::as_tensor(indices_.back());
    }
    Tensors x;
    Index index;
    bool choosable = true;  // no index but one of the call, where the op takes one
    for (std::size_t i = 0; i < line.operands.size(); ++i) {
      const auto operand = std::size_t(line.operands[i]);
      const bool is_index = script_.lines[operand].type.dtype == ir::DType::i32;
      if (is_index) index = indices_[operand];
      choosable =
          choosable &&
          (!is_index || (script_.lines[operand].op->id == ir::OpId::port &&
                         (line.op->takes_index || line.op->kind == ir::OpClass::composite)));
      if (!is_index || !choosable) x.push_back(values_[operand]);
    }
    const auto found = functions().find(line.op->name);
    if (found != functions().end() && choosable && any_traced(line, x))
      return found->second(x, index, line.attributes);
    // What no function says: values spread over children by themselves, arithmetic of indices, ops
    // of constants alone.
    x.clear();
    for (const int operand : line.operands) x.push_back(traced(values_[std::size_t(operand)]));
    return detail::trace_op(line.op->name, line.attributes, x);
  }

  static bool any_traced(const Line& line, const Tensors& x) {
    bool any = x.size() < line.operands.size();  // an Index
    for (const Tensor& operand : x) any = any || detail::Inside::trace(operand);
    return any;
  }

  /// A constant as a value of the cell.
  Tensor traced(const Tensor& x) const {
    if (detail::Inside::trace(x)) return x;
    std::shared_ptr<detail::Trace> trace;
    for (std::size_t port = 0; port < arguments_.fields.size(); ++port)
      trace = detail::Inside::trace(arguments_.fields[port].empty()
                                        ? detail::Inside::as_tensor(arguments_.indices[port])
                                        : arguments_.fields[port][0]);
    const double number = detail::Inside::number(x);
    return detail::Inside::tensor(trace, trace->builder.constant(number, x.shape()).id);
  }

  const BodyScript& script_;
  const std::vector<Param>& params_;
  const Arguments& arguments_;
  Tensors values_;              // by line
  std::vector<Index> indices_;  // likewise, of ports
};

template <class State, class Wide>
class TracedModel : public Model {
 public:
  TracedModel(const ir::Program& program, const std::vector<BodyScript>& scripts)
      : Model(program.name), program_(program), scripts_(scripts) {
    declare<State>(program.states[0]);
    declare<Wide>(program.states[1]);
    declare<Loss>(program.states[2]);
    for (const ir::Param& of : program.params)
      params_.push_back(param(of.name, of.shape, of.initializer));
    add("leaf", [this](Index word) { return body<State>(word); });
    add("unary", [this](Index word, State x) { return body<State>(word, x); });
    add("node", [this](State l, State r) { return body<State>(l, r); });
    add("nary", [this](Index word, Children<State> hs) { return body<State>(word, hs); });
    add("join", [this](State l, State r) { return body<Wide>(l, r); });
    add("part", [this](Wide x, Children<Wide> hs) { return body<State>(x, hs); });
    add("loss", [this](State s, Index label) { return body<Loss>(s, label); });
  }

 private:
  template <class S>
  void declare(const ir::State& state) {
    [&]<std::size_t... i>(std::index_sequence<i...>) {
      declare_state<S>(state.fields[i].shape...);
    }(std::make_index_sequence<detail::count_fields<S>()>());
  }

  template <class F>
  void add(const std::string& name, const F& traced) {
    if (next_ < program_.cells.size() && program_.cells[next_].name == name) {
      cell(name, traced);
      ++next_;
    }
  }

  template <class S, class... Ports>
  S body(const Ports&... ports) {
    Arguments arguments;
    (arguments.add(ports), ...);
    return detail::make_state<S>(Body(scripts_[next_], params_, arguments).run());
  }

  const ir::Program& program_;
  const std::vector<BodyScript>& scripts_;
  std::vector<Param> params_;
  std::size_t next_ = 0;  // the cell being traced
};

/// The cell with its nodes in the order in which its outputs reach them.
ir::Cell in_order(ir::Cell cell) {
  ir::GraphBuilder builder(ir::GraphBuilder::Mode::record);
  std::map<ir::NodeId, ir::Value> made;
  const std::function<ir::Value(ir::NodeId)> copy = [&](ir::NodeId id) {
    if (const auto found = made.find(id); found != made.end()) return found->second;
    const ir::Node& node = cell.graph[id];
    std::vector<ir::Value> operands;
    for (const ir::NodeId operand : node.operands) operands.push_back(copy(operand));
    const ir::Value value = node.op->kind == ir::OpClass::leaf
                                ? builder.leaf(*node.op, node.type, node.attributes)
                                : builder.apply(*node.op, operands, node.attributes);
    return made.emplace(id, value).first->second;
  };
  for (ir::NodeId& output : cell.outputs) output = copy(output).id;
  cell.graph = builder.finish(cell.outputs);
  return cell;
}

template <class State, class Wide>
Fault compare(const ir::Program& program, const std::vector<BodyScript>& scripts) {
  const TracedModel<State, Wide> model(program, scripts);
  const ir::Program& traced = model.program();
  ir::verify(traced);
  if (traced.params != program.params) return {"params differ", ir::print(traced)};
  if (traced.cells.size() != program.cells.size()) return {"cells are missing", ir::print(traced)};
  for (std::size_t c = 0; c < program.cells.size(); ++c) {
    const ir::Cell wanted = in_order(program.cells[c]), got = in_order(traced.cells[c]);
    if (got.graph == wanted.graph && got.outputs == wanted.outputs) continue;
    return {"another cell is traced", ir::print(got, traced) + ir::print(wanted, program)};
  }
  return {};
}

template <class State>
Fault compare(const ir::Program& program, const std::vector<BodyScript>& scripts) {
  switch (program.states[1].fields.size()) {
    case 1:
      return compare<State, WideOne>(program, scripts);
    case 2:
      return compare<State, WideTwo>(program, scripts);
    default:
      return compare<State, WideThree>(program, scripts);
  }
}

}  // namespace

Fault try_frontend(std::uint64_t seed) {
  return guarded([&] {
    std::vector<BodyScript> scripts;
    const ir::Program program = random_model(seed, &scripts);
    switch (program.states[0].fields.size()) {
      case 1:
        return compare<StateOne>(program, scripts);
      case 2:
        return compare<StateTwo>(program, scripts);
      default:
        return compare<StateThree>(program, scripts);
    }
  });
}

}  // namespace espalier::test
