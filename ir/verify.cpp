#include "ir/verify.h"

#include <algorithm>
#include <functional>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "ir/build.h"
#include "ir/op.h"

namespace espalier::ir {
namespace {

template <class Named>
void check_names(std::string_view what, const std::vector<Named>& items) {
  std::set<std::string_view> names;
  for (const Named& item : items)
    internal_check(names.insert(item.name).second, "two {} are called '{}'", what, item.name);
}

/// Checks one graph: a cell's, or a backward cell's if `forward` is given.
class GraphVerifier {
 public:
  GraphVerifier(const Program& program, const Cell& cell, const Graph& graph,
                const Cell* forward = nullptr)
      : program_(program), cell_(cell), graph_(graph), forward_(forward) {}

  void run(std::vector<NodeId> outputs) {
    for (id_ = 0; id_ < graph_.size(); ++id_) node(graph_[id_]);
    equal_nodes();
    for (NodeId output : outputs)
      check(output >= 0 && output < graph_.size(), "an output that is no node: %{}", output);
    live_nodes(outputs);
  }

  template <class... Args>
  void check(bool condition, fmt::format_string<Args...> text, Args&&... args) const {
    if (condition) return;
    std::string place = fmt::format("cell '{}'", cell_.name);
    if (forward_) place = "backward " + place;
    if (id_ >= 0 && id_ < graph_.size()) {
      const Op* op = graph_[id_].op;
      place += fmt::format(", %{} ({})", id_, op ? op->name : "no op");
    }
    throw InternalError("internal error: " + place + ": " +
                        fmt::format(text, std::forward<Args>(args)...));
  }

 private:
  void node(const Node& node) {
    check(node.op, "has no op");
    check(node.op->kind != OpClass::composite, "a composite op is expanded where it is added");
    for (NodeId operand : node.operands)
      check(operand >= 0 && operand < id_, "operand %{} does not precede it", operand);
    if (node.op->kind == OpClass::leaf) {
      check(node.operands.empty(), "a leaf has no operands");
      leaf(node);
    } else {
      rule(node);
    }
    if (node.type.children != per_instance) check_children_port(node.type.children);
    check(node.attributes == canonical(*node.op, node.attributes, node.type),
          "has attributes that its op does not read");
  }

  void check_children_port(int port) const {
    check(
        port >= 0 && port < int(cell_.ports.size()) && cell_.ports[port].kind == PortKind::children,
        "port {} is not a Children port", port);
  }

  void has_type(const Node& node, const Type& expected) const {
    check(node.type == expected, "has type {}, expected {}", to_string(node.type),
          to_string(expected));
  }

  void leaf(const Node& node) const {
    const OpId id = node.op->id;
    const int first = node.attributes.ints[0];
    if (id == OpId::port) {
      check(first >= 0 && first < int(cell_.ports.size()), "there is no port {}", first);
      port(node, cell_.ports[first]);
    } else if (id == OpId::param) {
      check(first >= 0 && first < int(program_.params.size()), "there is no param {}", first);
      has_type(node, {DType::f32, program_.params[first].shape, per_instance});
    } else if (id == OpId::iota) {
      check(node.type.dtype == DType::i32 && node.type.shape.rank() == 1 &&
                node.type.children == per_instance,
            "has type {}, expected indices along one axis", to_string(node.type));
    } else {
      check(node.type.dtype == DType::f32, "has type {}, expected numbers", to_string(node.type));
      const double rate = node.attributes.number;
      check(id != OpId::dropout_mask || (rate >= 0 && rate < 1), "has rate {}", rate);
      if (id == OpId::input)
        check(is_input(cell_), "an input beside other things");
      else if (id != OpId::constant && id != OpId::dropout_mask)
        backward_leaf(node, first);
    }
  }

  void port(const Node& node, const Port& port) const {
    const int field = node.attributes.ints[1];
    if (port.kind == PortKind::index) {
      check(field == 0, "an index has no field {}", field);
      return has_type(node, {DType::i32, {}, per_instance});
    }
    const std::vector<Type>& fields = program_.states[port.state].fields;
    check(field >= 0 && field < int(fields.size()), "state '{}' has no field {}",
          program_.states[port.state].name, field);
    Type type = fields[field];
    if (port.kind == PortKind::children) type.children = std::int8_t(node.attributes.ints[0]);
    has_type(node, type);
  }

  void backward_leaf(const Node& node, int position) const {
    check(forward_, "a leaf of backward cells");
    const int fields = int(program_.states[cell_.state].fields.size());
    const bool residual = node.op->id == OpId::residual;
    const int count = residual ? int(forward_->outputs.size()) - fields : fields;
    check(position >= 0 && position < count, "there is no {} {}", node.op->name, position);
    const NodeId source = forward_->outputs[position + (residual ? fields : 0)];
    has_type(node, forward_->graph[source].type);
  }

  /// The type is what the op's rule gives, and operands were broadcast and spread over children as
  /// GraphBuilder does it.
  void rule(const Node& node) const {
    const Op& op = *node.op;
    check(op.variadic ? !node.operands.empty() : node.operands.size() == op.operands.size(),
          "has {} operands, expected {}", node.operands.size(), op.operands.size());
    std::vector<Type> types;
    for (NodeId operand : node.operands) types.push_back(graph_[operand].type);
    for (std::size_t i = 0; i < types.size(); ++i) {
      if (op.kind == OpClass::elementwise)
        check(types[i].shape == node.type.shape, "operand {} has type {}, the result {}", i,
              to_string(types[i]), to_string(node.type));
      const bool shared = op.kind == OpClass::contraction && types[i].children == per_instance &&
                          is_shared(graph_, node.operands[i]);
      if (op.kind == OpClass::elementwise || op.kind == OpClass::contraction || op.assembles)
        check(types[i].children == node.type.children || shared,
              "operand {} has type {}, the result {}", i, to_string(types[i]),
              to_string(node.type));
    }
    check(!op.takes_index || index_port(graph_, node.operands[1]) >= 0,
          "its index is no Index port, nor a reshape of one");
    try {
      has_type(node, op.type({op, types, node.attributes, nullptr, {}}));
    } catch (const UserError& error) {
      check(false, "{}", error.what());
    }
  }

  void equal_nodes() {
    std::unordered_multimap<std::size_t, NodeId> seen;
    for (id_ = 0; id_ < graph_.size(); ++id_) {
      const Node& node = graph_[id_];
      std::size_t key = std::hash<const void*>()(node.op) + std::size_t(node.attributes.ints[0]);
      for (NodeId operand : node.operands) key = key * 31 + std::size_t(operand);
      for (auto [it, end] = seen.equal_range(key); it != end; ++it)
        check(graph_[it->second] != node, "equals %{}", it->second);
      seen.emplace(key, id_);
    }
  }

  void live_nodes(const std::vector<NodeId>& outputs) {
    std::vector<bool> live(graph_.size(), false);
    for (NodeId output : outputs) live[output] = true;
    for (id_ = graph_.size() - 1; id_ >= 0; --id_) {
      check(live[id_], "no output needs it");
      for (NodeId operand : graph_[id_].operands) live[operand] = true;
    }
  }

  const Program& program_;
  const Cell& cell_;
  const Graph& graph_;
  const Cell* forward_;
  NodeId id_ = -1;
};

void verify_forward(const Cell& cell, const Program& program, bool residuals) {
  GraphVerifier verifier(program, cell, cell.graph);
  const int states = int(program.states.size());
  verifier.check(cell.state >= 0 && cell.state < states, "there is no state {}", cell.state);
  check_names(fmt::format("ports of cell '{}'", cell.name), cell.ports);
  for (const Port& port : cell.ports)
    verifier.check(
        port.kind == PortKind::index ? port.state == -1 : port.state >= 0 && port.state < states,
        "port '{}' has state {}", port.name, port.state);
  const std::vector<Type>& fields = program.states[cell.state].fields;
  verifier.check(
      residuals ? cell.outputs.size() >= fields.size() : cell.outputs.size() == fields.size(),
      "has {} outputs, state '{}' has {} fields", cell.outputs.size(),
      program.states[cell.state].name, fields.size());
  verifier.run(cell.outputs);
  for (std::size_t field = 0; field < fields.size(); ++field) {
    const Type& type = cell.graph[cell.outputs[field]].type;
    verifier.check(type == fields[field], "output {} has type {}, field {} of state '{}' has {}",
                   field, to_string(type), field, program.states[cell.state].name,
                   to_string(fields[field]));
  }
}

void verify_contribution(const ParamContribution& c, const Graph& graph, const Cell& cell,
                         const Program& program, const GraphVerifier& verifier) {
  using Kind = ParamContribution::Kind;
  verifier.check(c.param >= 0 && c.param < int(program.params.size()), "there is no param {}",
                 c.param);
  const Param& param = program.params[c.param];
  const Type left = graph[c.left].type;
  bool fits = left.dtype == DType::f32;
  if (c.kind == Kind::sum) {
    fits = fits && left.shape.size() == param.shape.size() && c.right == -1;
  } else if (c.kind == Kind::rows) {
    fits = fits && param.shape.rank() > 0 &&
           left.shape.size() * param.shape[0] == param.shape.size() && c.right == -1 &&
           c.index_port >= 0 && c.index_port < int(cell.ports.size()) &&
           cell.ports[c.index_port].kind == PortKind::index;
  } else {
    const Type right = graph[c.right].type;
    const int rank = left.shape.rank();
    fits = fits && (rank == 1 || rank == 2) && right.shape.rank() == rank &&
           (rank == 1 || left.shape[0] == right.shape[0]) &&
           left.shape[rank - 1] * right.shape[rank - 1] == param.shape.size() &&
           left.children == right.children;
  }
  verifier.check(fits, "a contribution does not fit param '{}' of shape {}", param.name,
                 to_string(param.shape));
}

}  // namespace

void verify(const Cell& cell, const Program& program) { verify_forward(cell, program, false); }

void verify(const Differentiated& cell, const Program& program) {
  verify_forward(cell.forward, program, true);
  const BackwardCell& backward = cell.backward;
  GraphVerifier verifier(program, cell.forward, backward.graph, &cell.forward);
  std::vector<NodeId> outputs;
  for (const ChildGradient& gradient : backward.child_gradients) outputs.push_back(gradient.output);
  for (const ParamContribution& contribution : backward.contributions) {
    outputs.push_back(contribution.left);
    if (contribution.kind == ParamContribution::Kind::outer) outputs.push_back(contribution.right);
  }
  verifier.run(outputs);
  std::size_t next = 0;
  for (int port = 0; port < int(cell.forward.ports.size()); ++port) {
    const Port& of = cell.forward.ports[port];
    if (of.kind == PortKind::index) continue;
    const std::vector<Type>& fields = program.states[of.state].fields;
    for (int field = 0; field < int(fields.size()); ++field, ++next) {
      verifier.check(next < backward.child_gradients.size(), "too few child gradients");
      const ChildGradient& gradient = backward.child_gradients[next];
      Type type = fields[field];
      if (of.kind == PortKind::children) type.children = std::int8_t(port);
      verifier.check(gradient.port == port && gradient.field == field &&
                         backward.graph[gradient.output].type == type,
                     "the gradient of field {} of port '{}' is missing or has another type", field,
                     of.name);
    }
  }
  verifier.check(next == backward.child_gradients.size(), "too many child gradients");
  for (const ParamContribution& contribution : backward.contributions)
    verify_contribution(contribution, backward.graph, cell.forward, program, verifier);
}

void verify(const Program& program) {
  check_names("params", program.params);
  check_names("states", program.states);
  check_names("cells", program.cells);
  for (const State& state : program.states) {
    internal_check(!state.fields.empty(), "state '{}' has no fields", state.name);
    for (const Type& field : state.fields)
      internal_check(field.dtype == DType::f32 && field.children == per_instance,
                     "state '{}' has a field of type {}", state.name, to_string(field));
  }
  for (const Cell& cell : program.cells) verify(cell, program);
}

}  // namespace espalier::ir
