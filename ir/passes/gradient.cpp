#include "ir/passes/gradient.h"

#include <algorithm>
#include <map>
#include <optional>

#include "base/error.h"
#include "ir/op.h"
#include "ir/passes/simplify.h"
#include "ir/rebuild.h"

namespace espalier::ir {
namespace {

/// The part of a value that a cotangent belongs to.
struct Cotangent {
  Value value;
  std::optional<Attributes> slice;  ///< set: belongs to this slice of the value only
};

/// Joins cotangents of disjoint slices of one axis to one cotangent of the whole; what no slice
/// covers gets zeros. Empty if they overlap or lie on different axes.
Value join_slices(GraphBuilder& b, const Type& type, std::vector<Cotangent> slices) {
  const int axis = slices[0].slice->ints[0];
  std::ranges::sort(slices, {}, [](const Cotangent& c) { return c.slice->ints[1]; });
  std::vector<Value> parts;
  std::int64_t position = 0;
  const auto fill = [&](std::int64_t until) {
    if (until > position) {
      Type gap = type;
      gap.shape = type.shape.with(axis, until - position);
      parts.push_back(b.leaf(OpId::constant, gap, {{}, 0, gap.shape}));
    }
  };
  for (const Cotangent& cotangent : slices) {
    const Attributes& slice = *cotangent.slice;
    if (slice.ints[0] != axis || slice.ints[1] < position) return {};
    fill(slice.ints[1]);
    parts.push_back(cotangent.value);
    position = slice.ints[1] + slice.shape[axis];
  }
  fill(type.shape[axis]);
  return b.apply(OpId::concat, parts, {.ints = {axis, 0}});
}

Value embed_slice(GraphBuilder& b, const Type& type, const Cotangent& cotangent) {
  return join_slices(b, type, {cotangent});
}

class Differentiator {
 public:
  Differentiator(const Program& program, const Cell& cell)
      : program_(program),
        cell_(cell),
        builder_(GraphBuilder::Mode::simplify, "in cell '" + cell.name + "'") {}

  Differentiated run() {
    walk();
    return finish();
  }

  /// Raises the reach of the params that the cell contributes to.
  void mark_reached(std::vector<Reach>& params) {
    walk();
    for (const ParamContribution& c : contributions_)
      params[c.param] = std::max(
          params[c.param], c.kind == ParamContribution::Kind::rows ? Reach::rows : Reach::whole);
  }

 private:
  void walk() {
    values_ = copy_graph(builder_, cell_.graph);
    for (const Value& value : values_)
      internal_check(value.id < builder_.size(), "the copy of '{}' is incomplete", cell_.name);
    forward_size_ = builder_.size();
    seed();
    // The copy keeps the cell's order, so a reverse walk visits every user before its operands.
    for (NodeId id = forward_size_ - 1; id >= 0; --id) visit(builder_.value(id));
  }

  void seed() {
    for (std::size_t field = 0; field < cell_.outputs.size(); ++field) {
      const Value output = values_[cell_.outputs[field]];
      add(output.id,
          {builder_.leaf(OpId::cotangent, output.type(), {.ints = {int(field), 0}}), {}});
    }
    reaches_.assign(forward_size_, false);
    for (NodeId id = 0; id < forward_size_; ++id) {
      const Node& node = builder_.node(id);
      if (node.op->kind == OpClass::leaf)
        reaches_[id] = node.op->id == OpId::param ||
                       (node.op->id == OpId::port && node.type.dtype == DType::f32);
      for (NodeId operand : node.operands) reaches_[id] = reaches_[id] || reaches_[operand];
    }
  }

  void add(NodeId id, Cotangent cotangent) { cotangents_[id].push_back(std::move(cotangent)); }

  /// A value's cotangents, grouped by the Children port that they are per child of. A value that
  /// all instances share (a transposed param) may be read per instance and per child. Such
  /// cotangents can be added only after each has been summed over its own axis.
  std::map<std::int8_t, std::vector<Cotangent>> groups(Value value) const {
    std::map<std::int8_t, std::vector<Cotangent>> result;
    if (const auto found = cotangents_.find(value.id); found != cotangents_.end())
      for (const Cotangent& c : found->second) result[c.value.type().children].push_back(c);
    return result;
  }

  /// The sum of the cotangents of a value of type `type`.
  Value total(const Type& type, const std::vector<Cotangent>& cotangents) {
    std::vector<Cotangent> slices;
    Value sum;
    const auto accumulate = [&](Value more) { sum = sum ? sum + more : more; };
    for (const Cotangent& cotangent : cotangents)
      cotangent.slice ? slices.push_back(cotangent) : accumulate(cotangent.value);
    if (slices.empty()) return sum;
    if (const Value joined = join_slices(builder_, type, slices)) {
      accumulate(joined);
    } else {
      for (const Cotangent& slice : slices) accumulate(embed_slice(builder_, type, slice));
    }
    return sum;
  }

  void visit(Value value) {
    const Node node = value.node();  // a copy: the builder's list grows below
    if (!reaches_[value.id]) return;
    for (const auto& [children, cotangents] : groups(value)) {
      if (node.op->id == OpId::param)
        contribute(node.attributes.ints[0], node.type, cotangents);
      else if (node.op->kind != OpClass::leaf)
        propagate(value, node, total(node.type, cotangents));
    }
  }

  void propagate(Value value, const Node& node, Value cotangent) {
    if (node.op->id == OpId::slice) return add(node.operands[0], {cotangent, node.attributes});
    std::vector<Value> operands;
    for (NodeId id : node.operands) operands.push_back(builder_.value(id));
    if (!node.op->gradient) return;  // a step function
    const std::vector<Value> gradients =
        node.op->gradient({operands, value, cotangent, node.attributes});
    for (std::size_t i = 0; i < gradients.size(); ++i)
      if (gradients[i] && reaches_[operands[i].id]) add(operands[i].id, {gradients[i], {}});
  }

  /// Each cotangent of a param becomes a contribution. Slices are joined first, unless they are
  /// outer products that do not join to one outer product.
  void contribute(ParamId id, const Type& type, const std::vector<Cotangent>& cotangents) {
    std::vector<Cotangent> slices;
    bool outers = true;
    for (const Cotangent& cotangent : cotangents) {
      if (cotangent.slice) {
        slices.push_back(cotangent);
        outers = outers && cotangent.value.is(OpId::outer);
      } else {
        contribute(id, cotangent.value);
      }
    }
    if (slices.empty()) return;
    const Value joined = join_slices(builder_, type, slices);
    if (joined && (joined.is(OpId::outer) || !outers)) return contribute(id, joined);
    for (const Cotangent& slice : slices) contribute(id, embed_slice(builder_, type, slice));
  }

  /// Adds one contribution per term of the cotangent, which may be a sum, in the order of terms.
  void contribute(ParamId id, Value cotangent) {
    std::vector<Value> terms{cotangent};
    while (!terms.empty()) {
      const Value term = arranged(terms.back());
      terms.pop_back();
      if (term.is(OpId::add)) {
        terms.push_back(term.operand(1));
        terms.push_back(term.operand(0));
      } else if (!term.is(OpId::constant) || term.node().attributes.number != 0) {
        contributions_.push_back(contribution(id, term));
      }
    }
  }

  /// Without reshapes: a gradient is summed as a flat list of numbers.
  static Value arranged(Value value) {
    while (value.is(OpId::reshape)) value = value.operand(0);
    return value;
  }

  Value flat(Value value) {
    return builder_.apply(OpId::reshape, {value}, {.shape = {value.shape().size()}});
  }

  ParamContribution contribution(ParamId id, Value value) {
    using Kind = ParamContribution::Kind;
    if (value.is(OpId::outer)) {
      const Value left = value.operand(0), right = value.operand(1);
      const int port = hot_port(left);
      if (port >= 0 && left.shape()[0] == program_.params[id].shape[0])
        return {id, Kind::rows, arranged(right).id, -1, port};
      return {id, Kind::outer, left.id, flat(right).id, -1};
    }
    const bool transposed = value.is(OpId::transpose);
    const Value product = transposed ? value.operand(0) : value;
    if (product.is(OpId::matmul) && product.shape().rank() == 2) {
      // A sum of outer products over the contracted axis, if the factors are fewer numbers than
      // the result.
      const Value a = product.operand(0), b = product.operand(1);
      if (a.shape().size() + b.shape().size() <= product.shape().size()) {
        const Value columns = builder_.apply(OpId::transpose, {a});
        return {id, Kind::outer, (transposed ? b : columns).id, (transposed ? columns : b).id, -1};
      }
    }
    return {id, Kind::sum, value.id, -1, -1};
  }

  /// The Index port p if `value` is one_hot(p), else -1.
  int hot_port(Value value) const {
    if (!value.is(OpId::equal) || !value.operand(0).is(OpId::iota)) return -1;
    return index_port(builder_.graph(), value.operand(1).id);
  }

  /// Splits the joint graph into forward and backward. Forward values that the backward graph needs
  /// are read, recomputed or kept as residuals.
  Differentiated finish() {
    std::vector<NodeId> targets;
    BackwardCell backward;
    for (std::size_t port = 0; port < cell_.ports.size(); ++port) {
      if (cell_.ports[port].kind == PortKind::index) continue;
      const std::vector<Type>& fields = program_.states[cell_.ports[port].state].fields;
      for (int field = 0; field < int(fields.size()); ++field) {
        backward.child_gradients.push_back({int(port), field, -1});
        targets.push_back(child_gradient(int(port), field, fields[field]).id);
      }
    }
    for (const ParamContribution& c : contributions_) {
      targets.push_back(c.left);
      if (c.right >= 0) targets.push_back(c.right);
    }

    GraphBuilder out(GraphBuilder::Mode::simplify, builder_.context());
    made_.assign(builder_.size(), {});
    find_cheap();
    Differentiated result{cell_, {}};
    result.forward.graph = {};
    std::vector<NodeId> residuals;
    for (NodeId& target : targets) target = split(target, out, residuals).id;

    backward.graph = out.finish(targets);
    std::size_t next = 0;
    for (ChildGradient& gradient : backward.child_gradients) gradient.output = targets[next++];
    for (ParamContribution c : contributions_) {
      c.left = targets[next++];
      if (c.right >= 0) c.right = targets[next++];
      backward.contributions.push_back(c);
    }
    result.forward.outputs.clear();
    for (NodeId output : cell_.outputs) result.forward.outputs.push_back(values_[output].id);
    result.forward.outputs.insert(result.forward.outputs.end(), residuals.begin(), residuals.end());
    result.forward.graph = builder_.finish(result.forward.outputs);
    result.backward = std::move(backward);
    return result;
  }

  /// The total cotangent of the leaf that reads this field of this port; a constant 0 if there is
  /// none.
  Value child_gradient(int port, int field, Type type) {
    if (cell_.ports[port].kind == PortKind::children) type.children = std::int8_t(port);
    for (NodeId id = 0; id < forward_size_; ++id) {
      const Node& node = builder_.node(id);
      if (node.op->id != OpId::port || node.attributes.ints != std::array{port, field}) continue;
      const auto by_children = groups(builder_.value(id));  // one group: a port's own children
      if (!by_children.empty()) return total(type, by_children.begin()->second);
    }
    return builder_.leaf(OpId::constant, type, {{}, 0, type.shape});
  }

  /// Finds the forward values that the backward kernel gets without a further residual: those that
  /// it can read, and those that follow from them by element-wise and movement ops alone.
  void find_cheap() {
    field_.assign(forward_size_, -1);
    for (std::size_t field = cell_.outputs.size(); field-- > 0;)
      field_[values_[cell_.outputs[field]].id] = int(field);
    users_.assign(forward_size_, {});
    lacking_.assign(forward_size_, 0);
    cheap_.assign(forward_size_, false);
    for (NodeId id = 0; id < forward_size_; ++id)
      for (NodeId operand : builder_.node(id).operands) {
        users_[operand].push_back(id);
        ++lacking_[id];
      }
    for (NodeId id = 0; id < forward_size_; ++id)
      if (builder_.node(id).op->kind == OpClass::leaf || field_[id] >= 0) make_cheap(id);
  }

  /// Also marks the values that become cheap with it.
  void make_cheap(NodeId id) {
    std::vector<NodeId> fresh{id};
    while (!fresh.empty()) {
      const NodeId now = fresh.back();
      fresh.pop_back();
      if (cheap_[now]) continue;
      cheap_[now] = true;
      for (NodeId user : users_[now]) {
        const OpClass kind = builder_.node(user).op->kind;
        if (--lacking_[user] == 0 && (kind == OpClass::elementwise || kind == OpClass::movement))
          fresh.push_back(user);
      }
    }
  }

  /// The value in the backward graph.
  Value split(NodeId target, GraphBuilder& out, std::vector<NodeId>& residuals) {
    std::vector<NodeId> waiting{target};
    while (!waiting.empty()) {
      const NodeId id = waiting.back();
      const Node& node = builder_.node(id);
      const bool forward = id < forward_size_;
      if (made_[id]) {
        waiting.pop_back();
      } else if (node.op->kind == OpClass::leaf) {
        made_[id] = out.leaf(*node.op, node.type, node.attributes);
      } else if (forward && field_[id] >= 0) {
        made_[id] = out.leaf(OpId::output, node.type, {.ints = {field_[id], 0}});
      } else if (forward && node.op->kind != OpClass::movement && !cheap_[id]) {
        // A movement is looked through: what it moves is kept instead.
        made_[id] = out.leaf(OpId::residual, node.type, {.ints = {int(residuals.size()), 0}});
        residuals.push_back(id);
        make_cheap(id);
      } else {
        const std::size_t before = waiting.size();
        for (std::size_t i = node.operands.size(); i-- > 0;)
          if (!made_[node.operands[i]]) waiting.push_back(node.operands[i]);
        if (waiting.size() > before) continue;
        std::vector<Value> operands;
        for (NodeId o : node.operands) operands.push_back(made_[o]);
        made_[id] = out.apply(*node.op, operands, node.attributes);
      }
    }
    return made_[target];
  }

  const Program& program_;
  const Cell& cell_;
  GraphBuilder builder_;
  NodeId forward_size_ = 0;
  std::vector<Value> values_;
  std::vector<bool> reaches_;
  std::map<NodeId, std::vector<Cotangent>> cotangents_;
  std::vector<ParamContribution> contributions_;

  // By forward value.
  std::vector<int> field_;  // of the state that it is, or -1
  std::vector<std::vector<NodeId>> users_;
  std::vector<int> lacking_;  // operands that are not cheap
  std::vector<bool> cheap_;
  std::vector<Value> made_;  // by value of the joint graph
};

}  // namespace

Differentiated differentiate(const Program& program, const Cell& cell) {
  return Differentiator(program, cell).run();
}

std::vector<Reach> reached_params(const Program& program) {
  std::vector<Reach> reached(program.params.size(), Reach::none);
  for (const Cell& cell : program.cells)
    Differentiator(program, simplify(cell)).mark_reached(reached);
  return reached;
}

}  // namespace espalier::ir
