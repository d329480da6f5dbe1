#include "tests/support/random_body.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "ir/op.h"
#include "tests/support/node_values.h"
#include "tests/support/random_programs.h"

namespace espalier::test {

using namespace ir;

namespace {

constexpr double moderate = 4;  // the largest that values within a body become
constexpr int samples = 3;      // inputs on which that is seen
constexpr int sample_children[samples] = {2, 0, 3};

/// Whether the op has no gradient though it is no step function.
bool withholds_gradient(const Op& op) {
  if (op.kind != OpClass::elementwise || op.gradient) return false;
  const double x[3] = {0.3, 0.5, 0.7}, y[3] = {0.31, 0.52, 0.73};
  return op.evaluate(x) != op.evaluate(y);
}

bool names_port(const Op& op) { return op.attributes.ints[0] == "port"; }

/// Writes one cell's body. Every function that makes a value also keeps it, to be read again.
class Writer {
 public:
  Writer(Program& program, Cell& cell, Random& random, const BodyOptions& options)
      : program_(program),
        cell_(cell),
        random_(random),
        options_(options),
        builder_(GraphBuilder::Mode::record, "in cell '" + cell.name + "'") {}

  BodyScript run() {
    for (int port = 0; port < int(cell_.ports.size()); ++port) add_port(port);
    keep(constant(random_.real(-1, 1)));
    for (int params = random_.integer(3); params > 0; --params) keep(param(shape()));
    const std::size_t enough = values_.size() + std::size_t(options_.ops);
    for (int tries = 0; values_.size() < enough && tries < 12 * options_.ops; ++tries) step();
    for (const Type& field : program_.states[cell_.state].fields) {
      cell_.outputs.push_back(output(field.shape).id);
      script_.outputs.push_back(line_.at(cell_.outputs.back()));
    }
    cell_.graph = builder_.finish(cell_.outputs);
    return std::move(script_);
  }

 private:
  // ---- what goes into the graph and the script

  Value leaf(std::string_view name, const Type& type, const Attributes& attributes) {
    return wrote(builder_.leaf(op(name), type, attributes), {&op(name), {}, attributes, type});
  }
  Value constant(double value) {
    return leaf("constant", {DType::f32, {}, per_instance}, {.number = value});
  }
  /// UserError if it does not fit together.
  Value apply(const Op& op, const std::vector<Value>& operands, const Attributes& attributes = {}) {
    const Value result = builder_.apply(op, operands, attributes);
    BodyScript::Line line{&op, {}, attributes, result.type()};
    for (const Value& operand : operands) line.operands.push_back(line_.at(operand.id));
    return wrote(result, std::move(line));
  }
  Value wrote(Value value, BodyScript::Line line) {
    line_[value.id] = int(script_.lines.size());
    script_.lines.push_back(std::move(line));
    return value;
  }

  // ---- leaves

  void add_port(int port) {
    const Port& of = cell_.ports[port];
    if (of.kind == PortKind::index) {
      indices_.push_back(leaf("port", {DType::i32, {}, per_instance}, {.ints = {port, 0}}));
      keep(indices_.back());
      return;
    }
    const auto& fields = program_.states[of.state].fields;
    for (int field = 0; field < int(fields.size()); ++field) {
      Type type = fields[field];
      if (of.kind == PortKind::children) type.children = std::int8_t(port);
      keep(leaf("port", type, {.ints = {port, field}}));
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
    return leaf("param", {DType::f32, shape, per_instance}, {.ints = {id, 0}});
  }

  int extent() { return random_.pick(options_.extents); }
  Shape shape() {
    Shape result{extent()};
    while (random_.chance(0.5) && result.rank() < 3 && result.size() * 2 <= max_random_elements)
      result =
          result.prepend(std::min<std::int64_t>(extent(), max_random_elements / result.size()));
    return result;
  }

  // ---- what values are, by sample

  /// The largest size of an element; NaN if one is.
  double largest(Value x) {
    for (auto& sample : seen_)
      while (sample.size() <= std::size_t(x.id)) sample.push_back(see(sample));
    double result = 0;
    for (const auto& sample : seen_)
      for (const double value : sample[std::size_t(x.id)].data)
        result = std::isnan(value) ? value : std::max(result, std::abs(value));
    return result;
  }

  /// The value of the next node of a sample.
  Array see(const std::vector<Array>& sample) {
    const Node& node = builder_.node(NodeId(sample.size()));
    const std::vector<int> children(cell_.ports.size(), sample_children[&sample - seen_]);
    if (!fits(NodeId(sample.size()))) {
      Array nothing{node.type.shape, -1,
                    std::vector(std::size_t(node.type.shape.size()), std::nan(""))};
      return nothing;
    }
    if (node.op->kind != OpClass::leaf) {
      std::vector<const Array*> operands;
      for (const NodeId id : node.operands) operands.push_back(&sample[std::size_t(id)]);
      return evaluate_node(node, operands, children);
    }
    const std::int64_t count = node.type.children == per_instance ? 1 : children[0];
    return evaluate(Graph::unchecked({node}), children, [&](const Node&) {
      std::vector<double> data = random_.reals(node.type.shape.size() * count, -1, 1);
      if (node.type.dtype == DType::i32)
        for (double& x : data) x = random_.integer(random_index_bound);
      return data;
    })[0];
  }

  /// The value at a moderate size, so that deep nesting neither overflows nor loses digits.
  Value within_size(Value x, double limit) {
    if (x.type().dtype == DType::i32) return x;
    const double size = largest(x);
    if (size <= limit) return x;
    // Half of them keep all their digits.
    if (size > 1e4 || random_.chance(0.5)) return bounded(x);
    return apply(op(ir::OpId::mul), {x, constant(limit / (size * 1.01))});
  }

  Value bounded(Value x) { return apply(op(ir::OpId::tanh), {x}); }

  /// The value, moved into the op's domain if that does not hold all moderate numbers.
  Value within_domain(Value x, const Op& op, std::size_t i) {
    const Interval& domain = op.domain[std::min(i, op.domain.size() - 1)];
    if (x.type().dtype == DType::i32 || (domain.low <= -1 && domain.high >= 1)) return x;
    const double low = std::max(domain.low, 0.2), high = std::min(domain.high, 3.0);
    const Value scaled = apply(ir::op(ir::OpId::mul), {bounded(x), constant((high - low) / 2)});
    return apply(ir::op(ir::OpId::add), {scaled, constant((high + low) / 2)});
  }

  // ---- values

  Value keep(Value x) {
    if (std::ranges::find(values_, x.id, &Value::id) == values_.end()) values_.push_back(x);
    return x;
  }

  /// Applies an op if all fits, and keeps the result; else gives an empty Value.
  Value make(const Op& op, std::vector<Value> operands, const Attributes& attributes = {}) {
    if (names_port(op) && attributes.ints[0] < 0) return {};
    for (std::size_t i = 0; i < operands.size(); ++i) {
      if (!operands[i]) return {};
      operands[i] = within_domain(operands[i], op, i);
    }
    if (op.kind != OpClass::composite && !op.takes_index)
      for (const Value& x : operands)
        if (x.type().dtype != operands[0].type().dtype) return {};
    try {
      const Value result = apply(op, operands, attributes);
      if (result.shape().size() > max_random_elements || !fits(result.id) ||
          !std::isfinite(largest(result)))
        return {};
      for (const Value& x : operands) read_.insert(x.id);
      return keep(within_size(result, moderate));
    } catch (const UserError&) {
      return {};  // the draw does not fit together
    }
  }
  Value make(std::string_view op, std::vector<Value> operands, const Attributes& attributes = {}) {
    return make(ir::op(op), std::move(operands), attributes);
  }

  /// Whether all lookups and one-hot vectors behind a value hold for every index, and choose by an
  /// index of the call.
  bool fits(NodeId id) {
    while (fits_.size() < std::size_t(builder_.size())) {
      const Node& node = builder_.node(NodeId(fits_.size()));
      bool fit = std::ranges::all_of(node.operands, [&](NodeId o) { return fits_[o]; });
      if (node.op->kind == OpClass::leaf && node.type.dtype == DType::i32 && node.type.shape.rank())
        fit = node.type.shape[0] >= random_index_bound;
      if (node.op->takes_index)
        fit = fit && builder_.node(node.operands[0]).type.shape[0] >= random_index_bound &&
              std::ranges::find(indices_, node.operands[1], &Value::id) != indices_.end();
      fits_.push_back(fit);
    }
    return fits_[id];
  }

  /// One of those kept for which `fits` holds; may be empty. More often one that comes from a port,
  /// that nobody has read yet, or that was made last.
  template <class Fits>
  Value find(const Fits& fits) {
    std::vector<Value> found;
    for (const Value& value : values_)
      if (fits(value.type())) found.push_back(value);
    const auto prefer = [&](double probability, const auto& of) {
      std::vector<Value> better;
      std::ranges::copy_if(found, std::back_inserter(better), of);
      if (!better.empty() && random_.chance(probability)) found = std::move(better);
    };
    prefer(0.8, [&](const Value& x) { return !shared(x.id); });
    prefer(0.5, [&](const Value& x) { return !read_.contains(x.id); });
    if (found.size() > 4 && random_.chance(0.3)) found.erase(found.begin(), found.end() - 4);
    return found.empty() ? Value{} : random_.pick(found);
  }

  /// Whether no port is behind the value.
  bool shared(NodeId id) {
    while (shared_.size() < std::size_t(builder_.size())) {
      const Node& node = builder_.node(NodeId(shared_.size()));
      shared_.push_back(node.op->id != ir::OpId::port &&
                        std::ranges::all_of(node.operands, [&](NodeId o) { return shared_[o]; }));
    }
    return shared_[id];
  }

  Value of_type(const Type& wanted) {
    return find([&](const Type& type) { return type == wanted; });
  }

  /// A value of that type: one that is there, or made of such by any way that leads to the shape.
  Value of(const Type& type, int depth = 0) {
    if (type.dtype == DType::i32) return indices_.empty() ? Value{} : random_.pick(indices_);
    for (int tries = 0; tries < 4; ++tries) {
      const Value x = depth > 2 || random_.chance(0.4) ? of_type(type) : way_to(type, depth + 1);
      if (x && x.type() == type) return x;
    }
    if (type.children != per_instance)
      return make("per_child", {of({type.dtype, type.shape, per_instance}, depth + 1)},
                  {.ints = {type.children, 0}});
    if (type.shape.rank() == 1 && random_.chance(0.7)) {
      const Value x = find([](const Type& from) {
        return from.dtype == DType::f32 && from.shape.rank() == 1 && from.children == per_instance;
      });
      if (x) return make("matmul", {keep(param({type.shape[0], x.shape()[0]})), x});
    }
    return keep(param(type.shape));
  }

  /// May be empty.
  Value way_to(const Type& type, int depth) {
    const Shape& shape = type.shape;
    const auto with = [&](const Shape& other) { return Type{type.dtype, other, type.children}; };
    const int axis = shape.rank() ? random_.integer(shape.rank()) : 0;
    switch (random_.integer(10)) {
      case 0:
      case 1: {  // parts end to end
        if (shape.rank() == 0 || shape[axis] < 2) return {};
        std::vector<Value> parts;
        for (int left = shape[axis]; left > 0;) {
          const int length = parts.size() == 3 ? left : 1 + random_.integer(left);
          parts.push_back(of(with(shape.with(axis, length)), depth));
          left -= length;
        }
        return make("concat", parts, {.ints = {axis, 0}});
      }
      case 2: {  // a part
        if (shape.rank() == 0) return {};
        const Value x = find([&](const Type& from) {
          return from == with(from.shape) && from.shape.rank() == shape.rank() &&
                 from.shape.without(axis) == shape.without(axis) && from.shape[axis] > shape[axis];
        });
        if (!x) return {};
        const int begin = random_.integer(x.shape()[axis] - shape[axis] + 1);
        return make("slice", {x}, {.ints = {axis, begin}, .shape = shape});
      }
      case 3: {  // another view of as many elements
        const Value x = find([&](const Type& from) {
          return from == with(from.shape) && from.shape.size() == shape.size() &&
                 from.shape != shape;
        });
        return make("reshape", {x ? x : of(with(factors(shape.size())), depth)}, {.shape = shape});
      }
      case 4:
        if (shape.rank() != 2) return {};
        return make("transpose", {of(with({shape[1], shape[0]}), depth)});
      case 5: {  // fewer, repeated
        if (shape.rank() == 0) return {};
        const Shape fewer = random_.chance(0.5) ? shape.without_first() : shape.with(axis, 1);
        return make("broadcast", {of(with(fewer), depth)}, {.shape = shape});
      }
      case 6: {  // a row
        if (shape.rank() > 2 || indices_.empty()) return {};
        const int rows = random_index_bound + random_.integer(2);
        return make("row", {of(with(shape.prepend(rows)), depth), random_.pick(indices_)});
      }
      case 7: {  // weights of something, which may be parts or another view of what lies elsewhere
        if (shape.rank() == 0 || shape.rank() > 2) return {};
        const Shape like = shape.rank() == 2 ? Shape{extent(), shape[1]} : Shape{extent()};
        Value x = random_.chance(0.3) ? of(with(like), depth) : find([&](const Type& from) {
          return from == with(from.shape) && from.shape.rank() >= 1 &&
                 (shape.rank() == 1 || (from.shape.rank() == 2 && from.shape[1] == shape[1]));
        });
        if (x && shape.rank() == 1 && x.shape().rank() > 1)
          x = make("reshape", {x}, {.shape = {x.shape().size()}});
        if (!x) return {};
        const Shape weights{shape[0], x.shape()[0]};
        return make("matmul", {random_.chance(0.7) ? keep(param(weights))
                                                   : of({type.dtype, weights, per_instance}, depth),
                               x});
      }
      case 8: {  // over an axis, or over children
        const Op& op = pick_op(OpClass::reduction);
        if (op.over_children) {
          const int port = children_port();
          if (type.children != per_instance || port < 0) return {};
          return make(op, {of({type.dtype, shape, std::int8_t(port)}, depth)});
        }
        if (shape.rank() > 2) return {};
        return make(op, {of(with(shape.prepend(extent())), depth)});
      }
      default: {
        const Op& op = pick_op(OpClass::elementwise);
        std::vector<Value> operands;
        for (std::size_t i = 0; i < op.operands.size(); ++i) operands.push_back(of(type, depth));
        return make(op, operands);
      }
    }
  }

  const Op& pick_op(OpClass kind) {
    while (true) {
      const Op& op = ops()[random_.integer(int(ops().size()))];
      if (op.kind == kind && (options_.withheld_gradients || !withholds_gradient(op))) return op;
    }
  }

  /// A shape of so many elements.
  Shape factors(std::int64_t size) {
    Shape result;
    while (result.rank() < 3 && size > 1 && (result.rank() == 0 || random_.chance(0.7))) {
      std::vector<std::int64_t> divisors;
      for (std::int64_t d = 1; d <= size; ++d)
        if (size % d == 0) divisors.push_back(d);
      const std::int64_t divisor = result.rank() == 2 ? size : random_.pick(divisors);
      result = result.prepend(divisor);
      size /= divisor;
    }
    return size > 1 ? result.prepend(size) : result;
  }

  /// A Children port, or -1.
  int children_port() {
    std::vector<int> ports;
    for (int port = 0; port < int(cell_.ports.size()); ++port)
      if (cell_.ports[port].kind == PortKind::children) ports.push_back(port);
    return ports.empty() ? -1 : random_.pick(ports);
  }

  // ---- steps

  /// One more value, if what is drawn fits together. Every third is a movement or a contraction.
  void step() {
    const double kind = random_.real(0, 1);
    const Op& op = kind < 0.2    ? pick_op(OpClass::movement)
                   : kind < 0.35 ? pick_op(OpClass::contraction)
                                 : ops()[random_.integer(int(ops().size()))];
    if (op.kind == OpClass::leaf) return;
    if (!options_.withheld_gradients && withholds_gradient(op)) return;
    random_.chance(0.5) ? like_example(op) : of_any(op);
  }

  /// Operands as in an example of the op's record, with extents of our own.
  void like_example(const Op& op) {
    const Op::Example& example = op.examples[random_.below(op.examples.size())];
    std::map<int, int> extents;
    const auto ours = [&](const Shape& shape) {
      Shape result;
      for (int axis = shape.rank() - 1; axis >= 0; --axis)
        result = result.prepend(extents.try_emplace(shape[axis], extent()).first->second);
      return result;
    };
    const int port = children_port();
    const bool everywhere = port >= 0 && !op.over_children && random_.chance(0.3);
    std::vector<Value> operands;
    for (Type type : example.operands) {
      type.shape = ours(type.shape);
      if (type.shape.size() > max_random_elements) return;
      if (type.children != per_instance || (everywhere && type.dtype == DType::f32)) {
        if (port < 0) return;
        type.children = std::int8_t(port);
      }
      operands.push_back(of(type));
      if (!operands.back()) return;
    }
    Attributes attributes = example.attributes;
    if (op.attributes.shape || names_port(op)) attributes = drawn_attributes(op, operands);
    make(op, operands, attributes);
  }

  /// Any operands, of shapes that may well meet.
  void of_any(const Op& op) {
    std::vector<Value> operands;
    const std::size_t count = op.variadic ? 1 + random_.below(3) : op.operands.size();
    for (std::size_t i = 0; i < count; ++i) {
      Value x = find([](const Type&) { return true; });
      if (i > 0 && random_.chance(0.8))
        if (const Value same = of_type(operands[0].type())) x = same;
      operands.push_back(x);
    }
    if (op.takes_index && !indices_.empty()) operands[1] = random_.pick(indices_);
    make(op, operands, drawn_attributes(op, operands));
  }

  Attributes drawn_attributes(const Op& op, const std::vector<Value>& operands) {
    Attributes result;
    const Shape shape = operands[0].shape();
    const int axis = random_.integer(std::max(1, shape.rank()));
    result.ints = {names_port(op) ? children_port() : axis, 0};
    result.number = random_.chance(0.5) ? 0.25 : 0;
    switch (random_.integer(4)) {
      case 0:  // a part
        if (shape.rank() == 0) break;
        result.ints[1] = random_.integer(shape[axis]);
        result.shape = shape.with(axis, 1 + random_.integer(shape[axis] - result.ints[1]));
        break;
      case 1:  // as many
        result.shape = factors(shape.size());
        break;
      case 2:  // more
        result.shape = shape.rank() < 3 ? shape.prepend(extent()) : shape;
        break;
      default:
        result.shape = Shape{random_index_bound + random_.integer(4)};
    }
    return result;
  }

  // ---- outputs

  Value output(const Shape& shape) {
    const Type type{DType::f32, shape, per_instance};
    Value x = random_.chance(0.5) ? way_to(type, 0) : Value{};
    if (!x || x.type() != type) x = of(type);
    if (largest(x) > 1) x = keep(within_size(x, 1));
    return x;
  }

  Program& program_;
  Cell& cell_;
  Random& random_;
  const BodyOptions& options_;
  GraphBuilder builder_;
  std::vector<Value> values_, indices_;
  std::vector<Array> seen_[samples];
  std::vector<bool> fits_, shared_;
  BodyScript script_;
  std::map<NodeId, int> line_;  // the last that gave the node
  std::set<NodeId> read_;
};

}  // namespace

BodyScript write_random_body(Program& program, Cell& cell, Random& random,
                             const BodyOptions& options) {
  return Writer(program, cell, random, options).run();
}

}  // namespace espalier::test
