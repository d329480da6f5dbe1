#include "ir/text/parse.h"

#include <algorithm>
#include <map>
#include <vector>

#include "base/error.h"
#include "base/excerpt.h"
#include "ir/build.h"
#include "ir/op.h"
#include "ir/text/lexer.h"
#include "ir/verify.h"

namespace espalier::ir {
namespace {

/// Position of the item of that name, or -1.
template <class Named>
int find(const std::vector<Named>& items, std::string_view name) {
  for (std::size_t i = 0; i < items.size(); ++i)
    if (items[i].name == name) return int(i);
  return -1;
}

class Parser {
 public:
  Parser(std::string_view text, std::string_view file) : lexer_(text, file) {}

  Program run() {
    lexer_.expect("program");
    program_.name = lexer_.name("a name").text;
    while (lexer_.token().kind != Token::Kind::end) {
      if (lexer_.accept("param"))
        param();
      else if (lexer_.accept("state"))
        state();
      else if (lexer_.accept("cell"))
        cell();
      else
        lexer_.fail("'param', 'state' or 'cell'");
    }
    verify(program_);
    return std::move(program_);
  }

 private:
  /// Runs `action`; a UserError from it gets the place of `token`.
  template <class Action>
  auto checked(const Token& token, Action&& action) {
    try {
      return action();
    } catch (const UserError& error) {
      lexer_.fail(token, error.what());
    }
  }

  template <class Named>
  std::string new_name(const std::vector<Named>& items) {
    const Token name = lexer_.name("a name");
    if (find(items, name.text) >= 0)
      lexer_.fail(name, fmt::format("found '{}' again, expected a new name", excerpt(name.text)));
    return name.text;
  }

  /// Position of the item that is named next.
  template <class Named>
  int known(const std::vector<Named>& items, std::string_view what) {
    const Token name = lexer_.name(fmt::format("the name of a {}", what));
    const int position = find(items, name.text);
    if (position < 0) {
      std::vector<std::string_view> names;
      for (const Named& item : items) names.push_back(item.name);
      unknown(name, fmt::format("the name of a {}", what), names);
    }
    return position;
  }

  [[noreturn]] void unknown(const Token& name, std::string_view expected,
                            std::span<const std::string_view> names) const {
    std::string text = fmt::format("found '{}', expected {}", excerpt(name.text), expected);
    if (!names.empty())
      text += fmt::format("; the nearest is '{}'", excerpt(nearest_name(name.text, names)));
    lexer_.fail(name, text);
  }

  Shape shape() {
    const Token begin = lexer_.token();
    lexer_.expect("[");
    std::vector<std::int64_t> extents;
    while (!lexer_.accept("]")) {
      if (!extents.empty()) lexer_.expect(",");
      extents.push_back(lexer_.integer("an extent"));
    }
    return checked(begin, [&] { return Shape(std::span<const std::int64_t>(extents)); });
  }

  Type type(const std::vector<Port>& ports) {
    Type result;
    if (!lexer_.accept("f32")) {
      if (!lexer_.accept("i32")) lexer_.fail("'f32' or 'i32'");
      result.dtype = DType::i32;
    }
    result.shape = shape();
    if (lexer_.accept("*")) result.children = std::int8_t(children_port(ports));
    return result;
  }

  int children_port(const std::vector<Port>& ports) {
    const Token name = lexer_.token();
    const int port = known(ports, "port");
    if (ports[port].kind != PortKind::children || port > INT8_MAX)
      lexer_.fail(name, fmt::format("found '{}', expected a Children port", excerpt(name.text)));
    return port;
  }

  void param() {
    Param result;
    result.name = new_name(program_.params);
    result.shape = shape();
    const auto value = [&] {
      lexer_.expect("(");
      const double number = lexer_.number("a number");
      lexer_.expect(")");
      return number;
    };
    if (lexer_.accept("uniform"))
      result.initializer = Initializer::uniform(value());
    else if (lexer_.accept("constant"))
      result.initializer = Initializer::constant(value());
    else if (!lexer_.accept("glorot"))
      lexer_.fail("'glorot', 'uniform' or 'constant'");
    program_.params.push_back(std::move(result));
  }

  void state() {
    State result;
    result.name = new_name(program_.states);
    do {
      const Token begin = lexer_.token();
      result.fields.push_back(type({}));
      if (result.fields.back().dtype != DType::f32)
        lexer_.fail(begin, "found 'i32', expected 'f32': states hold numbers");
    } while (lexer_.at("f32") || lexer_.at("i32"));
    program_.states.push_back(std::move(result));
  }

  Port port(const std::vector<Port>& others) {
    Port result;
    result.name = new_name(others);
    lexer_.expect(":");
    if (lexer_.accept("index")) return result;
    if (lexer_.accept("child"))
      result.kind = PortKind::child;
    else if (lexer_.accept("children"))
      result.kind = PortKind::children;
    else
      lexer_.fail("'index', 'child' or 'children'");
    result.state = known(program_.states, "state");
    return result;
  }

  void cell() {
    Cell cell;
    const Token begin = lexer_.token();
    cell.name = new_name(program_.cells);
    lexer_.expect("(");
    while (!lexer_.accept(")")) {
      if (!cell.ports.empty()) lexer_.expect(",");
      cell.ports.push_back(port(cell.ports));
    }
    lexer_.expect("->");
    cell.state = known(program_.states, "state");
    lexer_.expect("{");

    GraphBuilder builder(GraphBuilder::Mode::record, "in cell '" + excerpt(cell.name) + "'");
    builder.describe = [&](const Node& node) -> std::string {
      const int position = node.attributes.ints[0];
      if (node.op->id == OpId::param)
        return fmt::format("param '{}'", excerpt(program_.params[position].name));
      return node.op->id == OpId::port
                 ? fmt::format("port '{}'", excerpt(cell.ports[position].name))
                 : "";
    };
    values_.clear();
    while (!lexer_.accept("return")) node(builder, cell);
    outputs(cell);
    cell.graph = builder.finish(cell.outputs);
    const auto reads_input = [](const Node& node) { return node.op->id == OpId::input; };
    if (std::ranges::any_of(cell.graph.nodes(), reads_input) && !is_input(cell))
      lexer_.fail(begin, fmt::format("found inputs in cell '{}' beside other things, expected no "
                                     "ports and its inputs as outputs, in their order",
                                     cell.name));
    program_.cells.push_back(std::move(cell));
  }

  void outputs(Cell& cell) {
    const State& state = program_.states[cell.state];
    const Token begin = lexer_.token();
    do {
      const Token name = lexer_.token();
      const Value output = value();
      const std::size_t field = cell.outputs.size();
      if (field < state.fields.size() && output.type() != state.fields[field])
        lexer_.fail(name, fmt::format("found %{} of type {}, expected {}, field {} of state '{}'",
                                      excerpt(name.text), to_string(output.type()),
                                      to_string(state.fields[field]), field, excerpt(state.name)));
      cell.outputs.push_back(output.id);
    } while (lexer_.accept(","));
    if (cell.outputs.size() != state.fields.size())
      lexer_.fail(begin,
                  fmt::format("found {} outputs, expected {}, one per field of state '{}'",
                              cell.outputs.size(), state.fields.size(), excerpt(state.name)));
    lexer_.expect("}");
  }

  Value value() {
    const Token name = lexer_.value("a value (%0, %1, …)");
    const auto found = values_.find(name.text);
    if (found == values_.end())
      lexer_.fail(name,
                  fmt::format("found %{}, expected a value given before", excerpt(name.text)));
    return found->second;
  }

  void node(GraphBuilder& builder, const Cell& cell) {
    const Token name = lexer_.value("a value (%0, %1, …) or 'return'");
    if (values_.contains(name.text))
      lexer_.fail(name, fmt::format("found %{} again, expected a new value", excerpt(name.text)));
    lexer_.expect("=");
    const Token word = lexer_.name("an op");
    const Op& op = find_op(word);
    std::vector<Value> operands;
    Attributes attributes;
    if (op.id == OpId::port || op.id == OpId::param)
      attributes = source(op, cell);
    else
      arguments(op, cell, operands, attributes);
    lexer_.expect(":");
    const Token type_begin = lexer_.token();
    const Type written = type(cell.ports);
    if (op.attributes.shape) attributes.shape = written.shape;
    Value result;
    if (op.kind == OpClass::leaf) {
      check_type(type_begin, written, leaf_type(op, attributes, written, cell));
      if (op.attributes.number == "rate" && !(attributes.number >= 0 && attributes.number < 1))
        lexer_.fail(word, fmt::format("found rate {}, expected 0 ≤ rate < 1", attributes.number));
      result = builder.leaf(op, written, attributes);
    } else {
      result = checked(word, [&] { return builder.apply(op, operands, attributes); });
      check_type(type_begin, written, result.type());
    }
    values_.emplace(name.text, result);
  }

  void check_type(const Token& begin, const Type& written, const Type& expected) const {
    if (written != expected)
      lexer_.fail(begin, fmt::format("found type {}, expected {}", to_string(written),
                                     to_string(expected)));
  }

  const Op& find_op(const Token& word) const {
    std::vector<std::string_view> names;
    for (const Op& op : ops()) {
      // What only backward cells read cannot be written.
      if (op.id == OpId::output || op.id == OpId::cotangent || op.id == OpId::residual) continue;
      if (op.name == word.text) return op;
      names.push_back(op.name);
    }
    unknown(word, "an op", names);
  }

  /// What a port or param leaf reads.
  Attributes source(const Op& op, const Cell& cell) {
    if (op.id == OpId::param) return {.ints = {known(program_.params, "param"), 0}};
    const int port = known(cell.ports, "port");
    const StateId state = cell.ports[port].state;
    if (state < 0) return {.ints = {port, 0}};
    lexer_.expect(".");
    const Token number = lexer_.token();
    const std::int64_t field = lexer_.integer("the number of a field");
    const std::size_t fields = program_.states[state].fields.size();
    if (field < 0 || field >= std::int64_t(fields))
      lexer_.fail(number, fmt::format("found field {}, expected 0 to {}: state '{}'", field,
                                      fields - 1, excerpt(program_.states[state].name)));
    return {.ints = {port, int(field)}};
  }

  void arguments(const Op& op, const Cell& cell, std::vector<Value>& operands,
                 Attributes& attributes) {
    lexer_.expect("(");
    std::vector<std::string_view> missing;
    for (std::string_view name :
         {op.attributes.ints[0], op.attributes.ints[1], op.attributes.number})
      if (!name.empty()) missing.push_back(name);
    bool first = true;
    while (!lexer_.at(")")) {
      if (!first) lexer_.expect(",");
      first = false;
      if (lexer_.token().kind == Token::Kind::value) {
        operands.push_back(value());
        continue;
      }
      const Token name = lexer_.name("a value (%0, %1, …) or an attribute");
      if (std::erase(missing, name.text) == 0)
        lexer_.fail(name,
                    missing.empty()
                        ? fmt::format("found '{}', expected a value or ')'", excerpt(name.text))
                        : fmt::format("found '{}', expected '{}'", excerpt(name.text), missing[0]));
      lexer_.expect("=");
      if (name.text == op.attributes.number)
        attributes.number = lexer_.number("a number");
      else
        attributes.ints[name.text == op.attributes.ints[1]] =
            name.text == "port" ? children_port(cell.ports) : integer();
    }
    if (!missing.empty()) lexer_.fail("'" + std::string(missing[0]) + "='");
    lexer_.expect(")");
  }

  int integer() {
    const Token token = lexer_.token();
    const std::int64_t value = lexer_.integer("an integer");
    if (value != std::int32_t(value))
      lexer_.fail(token, fmt::format("found {}, expected an integer of 32 bits", value));
    return int(value);
  }

  /// The type that a leaf must have; `written` where it may have any of its kind.
  Type leaf_type(const Op& op, const Attributes& attributes, const Type& written,
                 const Cell& cell) const {
    const int first = attributes.ints[0];
    if (op.id == OpId::param) return {DType::f32, program_.params[first].shape, per_instance};
    if (op.id == OpId::port) {
      const Port& port = cell.ports[first];
      if (port.kind == PortKind::index) return {DType::i32, {}, per_instance};
      Type type = program_.states[port.state].fields[attributes.ints[1]];
      if (port.kind == PortKind::children) type.children = std::int8_t(first);
      return type;
    }
    Type type = written;
    type.dtype = op.id == OpId::iota ? DType::i32 : DType::f32;
    if (op.id == OpId::iota && written.shape.rank() != 1) type.shape = {written.shape.size()};
    if (op.id == OpId::iota) type.children = per_instance;
    return type;
  }

  Lexer lexer_;
  Program program_;
  std::map<std::string, Value, std::less<>> values_;  // of the cell at hand
};

}  // namespace

Program parse(std::string_view text, std::string_view file) { return Parser(text, file).run(); }

}  // namespace espalier::ir
