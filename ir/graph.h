// A cell's body as an SSA list. Built only through GraphBuilder, which applies each op's shape rule
// and gives equal (op, attributes, operands) one node; operands precede users; frozen once built.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ir/type.h"

namespace espalier::ir {

struct Op;
enum class OpId : std::uint8_t;  // ir/op_id.h
class GraphBuilder;

using NodeId = std::int32_t;

/// What an op needs besides its operands; which member means what is said in the op's record.
struct Attributes {
  std::array<std::int32_t, 2> ints{};
  double number = 0;
  Shape shape = {};

  /// Numbers are compared bit by bit: a NaN equals itself, and 0 is not −0.
  bool operator==(const Attributes& other) const {
    return ints == other.ints && shape == other.shape &&
           std::bit_cast<std::uint64_t>(number) == std::bit_cast<std::uint64_t>(other.number);
  }
};

struct Node {
  const Op* op = nullptr;
  Type type;
  std::vector<NodeId> operands;
  Attributes attributes;

  bool operator==(const Node&) const = default;
};

class Graph {
 public:
  /// A graph of these nodes, unchecked: for tests of what ir/verify.h refuses.
  static Graph unchecked(std::vector<Node> nodes) {
    Graph graph;
    for (Node& node : nodes) graph.append(std::move(node));
    return graph;
  }

  std::span<const Node> nodes() const { return nodes_; }
  const Node& operator[](NodeId id) const { return nodes_[id]; }
  NodeId size() const { return static_cast<NodeId>(nodes_.size()); }
  bool is_shared(NodeId id) const { return shared_[id]; }

  bool operator==(const Graph&) const = default;

 private:
  friend class GraphBuilder;
  void append(Node node);

  std::vector<Node> nodes_;
  std::vector<bool> shared_;
};

/// Whether the value is the same for every instance: a param, a constant, or moved from such.
inline bool is_shared(const Graph& graph, NodeId id) { return graph.is_shared(id); }

/// The Index port that is the index `id`, itself or repeated to a shape; -1 if `id` is something
/// else. What chooses a row must be one: the recorder checks its values against the rows.
int index_port(const Graph& graph, NodeId id);

/// A node under construction, with arithmetic; the graph-value instance of gradient bodies.
struct Value {
  GraphBuilder* builder = nullptr;
  NodeId id = -1;

  explicit operator bool() const { return builder != nullptr; }
  /// Valid until the builder grows.
  const Node& node() const;
  Type type() const { return node().type; }
  Shape shape() const { return type().shape; }
  bool is(OpId op) const;
  Value operand(std::size_t i) const { return {builder, node().operands[i]}; }
};

class GraphBuilder {
 public:
  enum class Mode : std::uint8_t {
    record,   ///< keep what was written (the tracer)
    simplify  ///< apply the local identities of ir/passes/simplify.h to each new node
  };

  /// `context` ends error texts, e.g. "in cell 'node'". `describe` names an operand in error texts
  /// ("param 'w'") or gives "".
  explicit GraphBuilder(Mode mode = Mode::simplify, std::string context = "");

  /// Adds an op, expanding composites. Element-wise operands are broadcast against each other.
  /// Throws UserError where the op's shape rule does not hold.
  Value apply(const Op& op, std::span<const Value> operands, Attributes attributes = {});
  Value apply(OpId op, std::span<const Value> operands, Attributes attributes = {});
  Value apply(OpId op, std::initializer_list<Value> operands, Attributes attributes = {}) {
    return apply(op, std::span(operands.begin(), operands.size()), attributes);
  }

  /// A leaf of the given type (port, param, cotangent, …).
  Value leaf(const Op& op, Type type, Attributes attributes);
  Value leaf(OpId op, Type type, Attributes attributes);
  Value constant(double value, Shape shape = {});

  const Graph& graph() const { return graph_; }
  const Node& node(NodeId id) const { return graph_.nodes_[id]; }
  NodeId size() const { return graph_.size(); }
  Value value(NodeId id) { return {this, id}; }
  const std::string& context() const { return context_; }

  /// Gives the nodes that `outputs` need, in order, and renumbers `outputs` in place.
  Graph finish(std::span<NodeId> outputs) const;

  /// Names leaves in error texts; set by the tracer, which knows ports and params.
  std::function<std::string(const Node&)> describe;

 private:
  /// Makes operands fit each other: broadcast to one shape, spread over children.
  void fit(const Op& op, const Attributes& attributes, std::vector<Value>& operands);
  /// The node, or what simplification makes of it.
  Value rewritten(Node node);
  Value rewrite(const Node& node);
  Value intern(Node node);
  /// The node that equals it, whose hash is `key`, or -1.
  NodeId find(std::size_t key, const Node& node) const;

  Mode mode_;
  std::string context_;
  Graph graph_;
  std::unordered_multimap<std::size_t, NodeId> table_;  // hash → candidates, compared in full
  // Likewise what simplification made of a node: asked for again, it is not rewritten again, so
  // that slices of an expression with shared parts take linear time.
  std::unordered_multimap<std::size_t, std::pair<Node, NodeId>> rewritten_;
  int nested_ = 0;  // rewrites within rewrites
};

// clang-format off
Value operator+(Value a, Value b);
Value operator-(Value a, Value b);
Value operator*(Value a, Value b);
Value operator/(Value a, Value b);
Value operator-(Value a);
Value operator+(Value a, double b);
Value operator-(Value a, double b);
Value operator*(Value a, double b);
Value operator/(Value a, double b);
Value operator+(double a, Value b);
Value operator-(double a, Value b);
Value operator*(double a, Value b);
Value operator/(double a, Value b);
Value exp(Value x);
Value log(Value x);
Value sqrt(Value x);
Value tanh(Value x);
Value abs(Value x);
Value less(Value a, Value b);
Value less(double a, Value b);
Value equal(Value a, Value b);
Value where(Value c, Value a, Value b);
// clang-format on

}  // namespace espalier::ir
