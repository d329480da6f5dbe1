#include "ir/graph.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "ir/identities.h"
#include "ir/op.h"

namespace espalier::ir {
namespace {

std::size_t mix(std::size_t seed, std::size_t value) {
  return seed ^ (value + 0x9e3779b97f4a7c15 + (seed << 6) + (seed >> 2));
}

std::size_t hash(const Node& node) {
  std::size_t seed = std::hash<const void*>()(node.op);
  for (NodeId operand : node.operands) seed = mix(seed, static_cast<std::size_t>(operand));
  for (int value : node.attributes.ints) seed = mix(seed, static_cast<std::size_t>(value));
  seed = mix(seed, std::bit_cast<std::uint64_t>(node.attributes.number));
  return mix(seed, static_cast<std::size_t>(node.type.shape.size()));
}

std::vector<Type> types_of(std::span<const Value> values) {
  std::vector<Type> types;
  for (const Value& value : values) types.push_back(value.type());
  return types;
}

std::vector<NodeId> ids_of(std::span<const Value> values) {
  std::vector<NodeId> ids;
  for (const Value& value : values) ids.push_back(value.id);
  return ids;
}

/// The Children port over whose elements operands exist, or per_instance. A value per element of
/// one port cannot meet one of another.
std::int8_t common_children(const ShapeContext& operands) {
  std::int8_t children = per_instance;
  int first = -1;
  for (int i = 0; i < static_cast<int>(operands.operands.size()); ++i) {
    const std::int8_t of = operands.operands[i].children;
    if (of == per_instance) continue;
    if (children != per_instance && of != children)
      operands.fail("operands belong to the children of different ports: " +
                    operands.describe(first) + ", " + operands.describe(i));
    children = of;
    first = i;
  }
  return children;
}

/// Whether the op is applied child by child where one of its operands is a value per child.
bool maps_over_children(const Op& op) {
  return op.kind == OpClass::elementwise || op.kind == OpClass::contraction || op.assembles;
}

}  // namespace

Shape broadcast_shape(const ShapeContext& operands) {
  int rank = 0;
  for (const Type& type : operands.operands) rank = std::max(rank, type.shape.rank());
  std::vector<std::int64_t> extents(rank, 1);
  for (const Type& type : operands.operands) {
    const Shape& shape = type.shape;
    for (int axis = 0; axis < shape.rank(); ++axis) {
      std::int64_t& extent = extents[rank - shape.rank() + axis];
      if (shape[axis] == 1) continue;
      if (extent != 1 && extent != shape[axis]) {
        std::string all = operands.describe(0);
        for (std::size_t i = 1; i < operands.operands.size(); ++i)
          all += ", " + operands.describe(static_cast<int>(i));
        operands.fail("shapes differ: " + all);
      }
      extent = shape[axis];
    }
  }
  return Shape(std::span<const std::int64_t>(extents));
}

void Graph::append(Node node) {
  bool shared = false;
  if (node.op && node.op->kind == OpClass::leaf)
    shared =
        node.op->id == OpId::param || node.op->id == OpId::constant || node.op->id == OpId::iota;
  else if (node.op && node.op->kind == OpClass::movement && !node.op->takes_index)
    shared = std::ranges::all_of(node.operands,
                                 [&](NodeId o) { return o >= 0 && o < size() && shared_[o]; });
  nodes_.push_back(std::move(node));
  shared_.push_back(shared);
}

int index_port(const Graph& graph, NodeId id) {
  const auto looks_through = [](OpId op) {
    return op == OpId::reshape || op == OpId::broadcast || op == OpId::per_child;
  };
  while (looks_through(graph[id].op->id)) id = graph[id].operands[0];
  const Node& node = graph[id];
  const bool is_index = node.op->id == OpId::port && node.type.dtype == DType::i32;
  return is_index ? node.attributes.ints[0] : -1;
}

const Node& Value::node() const { return builder->node(id); }
bool Value::is(OpId op) const { return node().op->id == op; }

GraphBuilder::GraphBuilder(Mode mode, std::string context)
    : mode_(mode), context_(std::move(context)) {}

NodeId GraphBuilder::find(std::size_t key, const Node& node) const {
  for (auto [it, end] = table_.equal_range(key); it != end; ++it)
    if (graph_[it->second] == node) return it->second;
  return -1;
}

Value GraphBuilder::intern(Node node) {
  const std::size_t key = hash(node);
  if (const NodeId known = find(key, node); known >= 0) return {this, known};
  graph_.append(std::move(node));
  table_.emplace(key, graph_.size() - 1);
  return {this, graph_.size() - 1};
}

Value GraphBuilder::leaf(OpId id, Type type, Attributes attributes) {
  return leaf(ir::op(id), type, attributes);
}

Value GraphBuilder::leaf(const Op& op, Type type, Attributes attributes) {
  return intern({&op, type, {}, canonical(op, attributes, type)});
}

Value GraphBuilder::constant(double value, Shape shape) {
  return leaf(OpId::constant, {DType::f32, shape, per_instance}, {{}, value, shape});
}

Value GraphBuilder::apply(OpId id, std::span<const Value> operands, Attributes attributes) {
  return apply(ir::op(id), operands, attributes);
}

void GraphBuilder::fit(const Op& op, const Attributes& attributes, std::vector<Value>& operands) {
  const std::vector<Type> types = types_of(operands);
  const std::vector<NodeId> ids = ids_of(operands);
  const ShapeContext given{op, types, attributes, this, ids};
  given.check(op.variadic ? !operands.empty() : operands.size() == op.operands.size(),
              fmt::format("expected {} operands, found {}", op.operands.size(), operands.size()));
  const std::int8_t children = common_children(given);
  if (op.kind == OpClass::elementwise) {
    const Shape shape = broadcast_shape(given);
    for (Value& value : operands)
      if (value.shape() != shape) value = apply(OpId::broadcast, {value}, {.shape = shape});
  }
  if (!maps_over_children(op) || children == per_instance) return;
  for (Value& value : operands) {
    const bool as_it_is = op.kind == OpClass::contraction && is_shared(graph_, value.id);
    if (value.type().children == per_instance && !as_it_is)
      value = apply(OpId::per_child, {value}, {.ints = {children, 0}});
  }
}

Value GraphBuilder::apply(const Op& op, std::span<const Value> operands, Attributes attributes) {
  std::vector<Value> values(operands.begin(), operands.end());
  for (const Value& value : values)
    internal_check(value.builder == this, "{}: operand of another graph", op.name);
  fit(op, attributes, values);
  const std::vector<Type> types = types_of(values);
  std::vector<NodeId> ids = ids_of(values);
  const ShapeContext context{op, types, attributes, this, ids};
  const Type type = op.type(context);
  if (op.takes_index && index_port(graph_, ids[1]) < 0)
    context.fail("expected an Index port, or a reshape of one: " + context.describe(1));
  if (op.kind == OpClass::composite) {
    const Value result = op.expand(*this, values, attributes);
    internal_check(result.type() == type, "{}: its expansion has type {}, its rule says {}",
                   op.name, to_string(result.type()), to_string(type));
    return result;
  }
  attributes = canonical(op, attributes, type);
  Node node{&op, type, std::move(ids), attributes};
  return mode_ == Mode::record ? intern(std::move(node)) : rewritten(std::move(node));
}

namespace {

/// Rewrites nest as deep as the expression that a slice moves through. Deeper than this, the
/// outermost one begins with `node`, so that the machine's stack does not bound a cell's size.
constexpr int most_nested = 100;
struct NestedTooDeep {
  Node node;
};

}  // namespace

Value GraphBuilder::rewritten(Node node) {
  if (nested_ > 0) return rewrite(node);
  std::vector<Node> waiting{std::move(node)};
  Value result;
  while (!waiting.empty()) {
    try {
      result = rewrite(waiting.back());
      waiting.pop_back();
    } catch (NestedTooDeep& deeper) {
      waiting.push_back(std::move(deeper.node));
    }
  }
  return result;
}

Value GraphBuilder::rewrite(const Node& node) {
  const std::size_t key = hash(node);
  for (auto [it, end] = rewritten_.equal_range(key); it != end; ++it)
    if (it->second.first == node) return {this, it->second.second};
  if (const NodeId known = find(key, node); known >= 0) return {this, known};
  if (nested_ == most_nested) throw NestedTooDeep{node};
  struct Nesting {
    int& depth;
    explicit Nesting(int& d) : depth(d) { ++depth; }
    ~Nesting() { --depth; }
  } const nesting(nested_);
  std::vector<Value> values;
  for (NodeId id : node.operands) values.push_back(value(id));
  const Value simpler = simplify(*this, *node.op, values, node.attributes, node.type);
  if (!simpler) return intern(node);
  rewritten_.emplace(key, std::pair(node, simpler.id));
  return simpler;
}

Graph GraphBuilder::finish(std::span<NodeId> outputs) const {
  std::vector<char> live(graph_.nodes_.size(), 0);
  for (NodeId output : outputs) live[output] = 1;
  for (NodeId id = graph_.size() - 1; id >= 0; --id)
    if (live[id])
      for (NodeId operand : graph_[id].operands) live[operand] = 1;
  Graph result;
  std::vector<NodeId> renumbered(graph_.nodes_.size(), -1);
  for (NodeId id = 0; id < graph_.size(); ++id) {
    if (!live[id]) continue;
    Node node = graph_[id];
    for (NodeId& operand : node.operands) operand = renumbered[operand];
    renumbered[id] = result.size();
    result.append(std::move(node));
  }
  for (NodeId& output : outputs) output = renumbered[output];
  return result;
}

namespace {
Value binary(OpId op, Value a, Value b) { return (a.builder ? a : b).builder->apply(op, {a, b}); }
Value constant(Value like, double value) { return like.builder->constant(value); }
Value unary(OpId op, Value x) { return x.builder->apply(op, {x}); }
}  // namespace

// clang-format off
Value operator+(Value a, Value b) { return binary(OpId::add, a, b); }
Value operator-(Value a, Value b) { return binary(OpId::sub, a, b); }
Value operator*(Value a, Value b) { return binary(OpId::mul, a, b); }
Value operator/(Value a, Value b) { return binary(OpId::div, a, b); }
Value operator-(Value a) { return unary(OpId::neg, a); }
Value operator+(Value a, double b) { return a + constant(a, b); }
Value operator-(Value a, double b) { return a - constant(a, b); }
Value operator*(Value a, double b) { return a * constant(a, b); }
Value operator/(Value a, double b) { return a / constant(a, b); }
Value operator+(double a, Value b) { return constant(b, a) + b; }
Value operator-(double a, Value b) { return constant(b, a) - b; }
Value operator*(double a, Value b) { return constant(b, a) * b; }
Value operator/(double a, Value b) { return constant(b, a) / b; }
Value exp(Value x) { return unary(OpId::exp, x); }
Value log(Value x) { return unary(OpId::log, x); }
Value sqrt(Value x) { return unary(OpId::sqrt, x); }
Value tanh(Value x) { return unary(OpId::tanh, x); }
Value abs(Value x) { return unary(OpId::abs, x); }
Value less(Value a, Value b) { return binary(OpId::less, a, b); }
Value less(double a, Value b) { return less(constant(b, a), b); }
Value equal(Value a, Value b) { return binary(OpId::equal, a, b); }
Value where(Value c, Value a, Value b) { return c.builder->apply(OpId::where, {c, a, b}); }
// clang-format on

}  // namespace espalier::ir
