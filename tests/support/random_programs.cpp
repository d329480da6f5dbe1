#include "tests/support/random_programs.h"

#include <fmt/format.h>

#include <algorithm>

#include "ir/error.h"
#include "ir/op.h"
#include "tests/support/cells.h"

namespace espalier::test {

using namespace ir;

namespace {

/// Whether the op has no gradient though it is no step function.
bool withholds_gradient(const Op& op) {
  if (op.kind != OpClass::elementwise || op.gradient) return false;
  const double x[3] = {0.3, 0.5, 0.7}, y[3] = {0.31, 0.52, 0.73};
  return op.evaluate(x) != op.evaluate(y);
}

/// Writes one cell's body.
class Writer {
 public:
  Writer(Program& program, Cell& cell, Random& random, const RandomProgramOptions& options)
      : program_(program),
        cell_(cell),
        random_(random),
        options_(options),
        builder_(GraphBuilder::Mode::record, "in cell '" + cell.name + "'") {}

  void run() {
    for (int port = 0; port < int(cell_.ports.size()); ++port) add_port(port);
    const int d = options_.width;
    for (const Shape& shape : {Shape{d, d}, Shape{2 * d, d}, Shape{d}, Shape{5, d}})
      if (random_.chance(0.7)) values_.push_back(param(shape));
    values_.push_back(builder_.constant(random_.real(-1, 1), {}));
    const std::size_t enough = values_.size() + options_.ops;
    for (int tries = 0; values_.size() < enough && tries < 60 * options_.ops; ++tries) step();
    for (const Type& field : program_.states[cell_.state].fields)
      cell_.outputs.push_back(bounded(shaped(number(), field.shape)).id);
    cell_.graph = builder_.finish(cell_.outputs);
  }

 private:
  void add_port(int port) {
    const Port& of = cell_.ports[port];
    if (of.kind == PortKind::index) {
      values_.push_back(builder_.leaf("port", {DType::i32, {}, per_instance}, {.ints = {port, 0}}));
      return;
    }
    const auto& fields = program_.states[of.state].fields;
    for (int field = 0; field < int(fields.size()); ++field) {
      Type type = fields[field];
      if (of.kind == PortKind::children) type.children = std::int8_t(port);
      values_.push_back(builder_.leaf("port", type, {.ints = {port, field}}));
    }
  }

  /// A param of that shape: an old one or, more often, a new one.
  Value param(const Shape& shape) {
    int id = random_.chance(0.3) && !program_.params.empty()
                 ? random_.integer(int(program_.params.size()))
                 : -1;
    if (id < 0 || program_.params[id].shape != shape) {
      id = int(program_.params.size());
      program_.params.push_back({fmt::format("p{}", id), shape, Initializer::uniform(0.5)});
    }
    return builder_.leaf("param", {DType::f32, shape, per_instance}, {.ints = {id, 0}});
  }

  Value bounded(Value x) { return tanh(x); }

  /// One more value, if the ops, operands and attributes drawn fit.
  void step() {
    const Op& op = ops()[random_.integer(int(ops().size()))];
    if (op.kind == OpClass::leaf) return;
    if (!options_.withheld_gradients && withholds_gradient(op)) return;
    std::vector<Value> operands;
    const std::size_t count = op.variadic ? 1 + random_.integer(3) : op.operands.size();
    for (std::size_t i = 0; i < count; ++i)
      operands.push_back(within(random_.pick(values_), op, i));
    try {
      const NodeId before = builder_.size();
      const Value result = builder_.apply(op, operands, attributes(op, operands));
      if (result.shape().size() <= 100 && indices_fit(before)) values_.push_back(moderate(result));
    } catch (const UserError&) {
      // The draw does not fit together.
    }
  }

  /// The value, moved into the op's domain if that does not hold all moderate numbers.
  Value within(Value x, const Op& op, std::size_t i) {
    const Interval& domain = op.domain[std::min(i, op.domain.size() - 1)];
    if (x.type().dtype == DType::i32 || (domain.low <= -1 && domain.high >= 1)) return x;
    const double low = std::max(domain.low, 0.2), high = std::min(domain.high, 3.0);
    return bounded(x) * ((high - low) / 2) + (high + low) / 2;
  }

  /// Numbers stay in about −1 … 1 so that deep nesting neither overflows nor loses digits.
  Value moderate(Value x) { return x.type().dtype == DType::i32 ? x : bounded(x); }

  Attributes attributes(const Op& op, const std::vector<Value>& operands) {
    Attributes result;
    for (int& value : result.ints) value = random_.integer(3);
    if (op.attributes.ints[0] == "port") result.ints[0] = children_port();
    result.number = random_.chance(0.5) ? 0.25 : 0;
    result.shape = random_.pick(values_).shape();
    const Shape shape = operands[0].shape();
    const int axis = result.ints[0];
    if (random_.chance(0.5) && axis >= 0 && axis < shape.rank())
      result.shape = shape.with(axis, 1 + random_.integer(shape[axis]));
    else if (random_.chance(0.3))
      result.shape = Shape{shape.size()};
    return result;
  }

  int children_port() const {
    for (int port = 0; port < int(cell_.ports.size()); ++port)
      if (cell_.ports[port].kind == PortKind::children) return port;
    return -1;
  }

  /// Whether all new row lookups hold for every index.
  bool indices_fit(NodeId from) const {
    for (NodeId id = from; id < builder_.size(); ++id) {
      const Node& node = builder_.node(id);
      if (node.op->takes_index &&
          builder_.node(node.operands[0]).type.shape[0] < random_index_bound)
        return false;
    }
    return true;
  }

  Value number() {
    while (true)
      if (const Value x = random_.pick(values_); x.type().dtype == DType::f32) return x;
  }

  /// The value as numbers of that shape, per instance.
  Value shaped(Value x, const Shape& shape) {
    if (x.type().children != per_instance) x = builder_.apply("sum_children", {x});
    if (x.shape() == shape) return x;
    const Value flat = builder_.apply("reshape", {x}, {.shape = {x.shape().size()}});
    const Value w = param({shape.size(), x.shape().size()});
    return builder_.apply("reshape", {builder_.apply("matmul", {w, flat})}, {.shape = shape});
  }

  Program& program_;
  Cell& cell_;
  Random& random_;
  const RandomProgramOptions& options_;
  GraphBuilder builder_;
  std::vector<Value> values_;
};

}  // namespace

Program random_program(std::uint64_t seed, RandomProgramOptions options) {
  internal_check(options.width >= random_index_bound, "a width of {}", options.width);
  Random random(seed);
  Program program;
  program.name = fmt::format("random_{}", seed);
  const Type field{DType::f32, {options.width}, per_instance};
  program.states = {{"State", {field, field}}, {"Loss", {{DType::f32, {}, per_instance}}}};
  const Port word{"word", PortKind::index, -1};
  const auto child = [](std::string name) { return Port{std::move(name), PortKind::child, 0}; };
  const std::vector<std::pair<std::string, std::vector<Port>>> cells = {
      {"leaf", {word}},
      {"unary", {word, child("x")}},
      {"node", {child("l"), child("r")}},
      {"nary", {word, {"hs", PortKind::children, 0}}},
      {"loss", {child("s"), {"label", PortKind::index, -1}}}};
  for (const auto& [name, ports] : cells) {
    Cell cell{name, ports, name == "loss" ? 1 : 0, {}, {}};
    Writer(program, cell, random, options).run();
    program.cells.push_back(std::move(cell));
  }
  return program;
}

}  // namespace espalier::test
