#include "ir/text/print.h"

#include <fmt/format.h>

#include <algorithm>

#include "ir/build.h"
#include "ir/differentiated.h"
#include "ir/op.h"

namespace espalier::ir {
namespace {

bool is_plain(std::string_view name) {
  const auto letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  return !name.empty() && letter(name[0]) &&
         std::ranges::all_of(name, [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

/// A name as it is, or in quotes if it is not a plain word.
std::string quoted(std::string_view name) {
  if (is_plain(name)) return std::string(name);
  std::string text = "\"";
  for (char c : name) {
    if (c == '"' || c == '\\')
      text += {'\\', c};
    else if (static_cast<unsigned char>(c) < 0x20)
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      text += c;
  }
  return text + '"';
}

class CellPrinter {
 public:
  CellPrinter(const Cell& cell, const Program& program) : cell_(cell), program_(program) {}

  /// The cell's line, up to the brace.
  std::string header(std::string_view keyword) const {
    std::string ports;
    for (const Port& port : cell_.ports) {
      if (!ports.empty()) ports += ", ";
      ports += quoted(port.name) + ": ";
      ports += to_string(port.kind);
      if (port.kind != PortKind::index) ports += ' ' + quoted(program_.states[port.state].name);
    }
    return fmt::format("{} {}({}) -> {} {{\n", keyword, quoted(cell_.name), ports,
                       quoted(program_.states[cell_.state].name));
  }

  std::string body(const Graph& graph) const {
    std::string text;
    for (NodeId id = 0; id < graph.size(); ++id)
      text += fmt::format("  %{} = {} : {}\n", id, value(graph[id]), type(graph[id].type));
    return text;
  }

  std::string port(int port, int field) const {
    const Port& of = cell_.ports[port];
    return of.kind == PortKind::index ? quoted(of.name)
                                      : fmt::format("{}.{}", quoted(of.name), field);
  }

 private:
  std::string value(const Node& node) const {
    const Op& op = *node.op;
    const Attributes& attributes = node.attributes;
    if (op.id == OpId::port) return "port " + port(attributes.ints[0], attributes.ints[1]);
    if (op.id == OpId::param) return "param " + quoted(program_.params[attributes.ints[0]].name);
    std::string arguments;
    const auto add = [&](const std::string& argument) {
      arguments += (arguments.empty() ? "" : ", ") + argument;
    };
    for (NodeId operand : node.operands) add(fmt::format("%{}", operand));
    for (std::size_t i = 0; i < op.attributes.ints.size(); ++i) {
      const std::string_view name = op.attributes.ints[i];
      if (name == "port")
        add("port=" + quoted(cell_.ports[attributes.ints[i]].name));
      else if (!name.empty())
        add(fmt::format("{}={}", name, attributes.ints[i]));
    }
    if (!op.attributes.number.empty())
      add(fmt::format("{}={}", op.attributes.number, attributes.number));
    return fmt::format("{}({})", op.name, arguments);  // `shape` is in the type
  }

  std::string type(Type type) const {
    std::string children;
    if (type.children != per_instance) children = "*" + quoted(cell_.ports[type.children].name);
    type.children = per_instance;
    return to_string(type) + children;
  }

  const Cell& cell_;
  const Program& program_;
};

std::string list(std::span<const NodeId> ids) {
  std::string text;
  for (NodeId id : ids) text += fmt::format("{}%{}", text.empty() ? "" : ", ", id);
  return text;
}

std::string initializer(const Initializer& initializer) {
  switch (initializer.kind) {
    case Initializer::Kind::uniform:
      return fmt::format("uniform({})", initializer.value);
    case Initializer::Kind::glorot:
      return "glorot";
    case Initializer::Kind::constant:
      return fmt::format("constant({})", initializer.value);
  }
  return {};
}

std::string contribution(const ParamContribution& c, const CellPrinter& printer,
                         const Program& program) {
  const std::string param = quoted(program.params[c.param].name);
  switch (c.kind) {
    case ParamContribution::Kind::outer:
      return fmt::format("  param {} += outer(%{}, %{})\n", param, c.left, c.right);
    case ParamContribution::Kind::sum:
      return fmt::format("  param {} += %{}\n", param, c.left);
    case ParamContribution::Kind::rows:
      return fmt::format("  param {}[{}] += %{}\n", param, printer.port(c.index_port, 0), c.left);
  }
  return {};
}

}  // namespace

std::string print(const Cell& cell, const Program& program) {
  const CellPrinter printer(cell, program);
  return printer.header("cell") + printer.body(cell.graph) + "  return " + list(cell.outputs) +
         "\n}\n";
}

std::string print(const Program& program) {
  std::string text = "program " + quoted(program.name) + "\n\n";
  for (const Param& param : program.params)
    text += fmt::format("param {} {} {}\n", quoted(param.name), to_string(param.shape),
                        initializer(param.initializer));
  if (!program.params.empty()) text += '\n';
  for (const State& state : program.states) {
    text += "state " + quoted(state.name);
    for (const Type& field : state.fields) text += " " + to_string(field);
    text += '\n';
  }
  for (const Cell& cell : program.cells) text += "\n" + print(cell, program);
  return text;
}

std::string print(const Differentiated& cell, const Program& program) {
  const Cell& forward = cell.forward;
  const CellPrinter printer(forward, program);
  const std::span<const NodeId> outputs = forward.outputs;
  const std::size_t fields = program.states[forward.state].fields.size();
  std::string text = printer.header("forward") + printer.body(forward.graph) + "  return " +
                     list(outputs.first(fields)) + "\n";
  if (outputs.size() > fields) text += "  keep " + list(outputs.subspan(fields)) + "\n";
  text += "}\n\n" + printer.header("backward") + printer.body(cell.backward.graph);
  for (const ChildGradient& gradient : cell.backward.child_gradients)
    text += fmt::format("  port {} += %{}\n", printer.port(gradient.port, gradient.field),
                        gradient.output);
  for (const ParamContribution& c : cell.backward.contributions)
    text += contribution(c, printer, program);
  return text + "}\n";
}

}  // namespace espalier::ir
