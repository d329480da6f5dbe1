#include "tests/support/shrink.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "ir/op.h"
#include "ir/rebuild.h"
#include "ir/verify.h"

namespace espalier::test {

using namespace ir;

namespace {

/// The program without params that no cell reads, numbered anew.
Program without_unread_params(const Program& program) {
  std::set<int> read;
  for (const Cell& cell : program.cells)
    for (const Node& node : cell.graph.nodes())
      if (node.op->id == ir::OpId::param) read.insert(node.attributes.ints[0]);
  Program result = program;
  result.params.clear();
  std::vector<int> number(program.params.size(), -1);
  for (const int param : read) {
    number[std::size_t(param)] = int(result.params.size());
    result.params.push_back(program.params[std::size_t(param)]);
  }
  for (Cell& cell : result.cells)
    cell = rebuild(cell, GraphBuilder::Mode::record,
                   [&](GraphBuilder& b, const Node& node, std::span<const Value>) {
                     if (node.op->id != ir::OpId::param) return Value{};
                     Attributes attributes = node.attributes;
                     attributes.ints[0] = number[std::size_t(attributes.ints[0])];
                     return b.leaf(ir::OpId::param, node.type, attributes);
                   });
  return result;
}

class Shrinker {
 public:
  Shrinker(Program program, const std::function<bool(const Program&)>& shows)
      : program_(std::move(program)), shows_(shows) {}

  Program run() {
    bool smaller = true;
    while (smaller && tries_ > 0) {
      smaller = false;
      for (std::size_t c = 0; c < program_.cells.size(); ++c) {
        while (drop_field(c)) smaller = true;
        for (NodeId id = program_.cells[c].graph.size() - 1; id >= 0; --id)
          if (id < program_.cells[c].graph.size() && replace(c, id)) smaller = true;
        for (std::size_t port = 0; port < program_.cells[c].ports.size(); ++port)
          if (drop_port(c, int(port))) smaller = true;
      }
    }
    return std::move(program_);
  }

 private:
  bool take(const Program& candidate) {
    if (--tries_ < 0) return false;
    try {
      const Program tried = without_unread_params(candidate);
      verify(tried);
      if (!shows_(tried)) return false;
      program_ = tried;
      return true;
    } catch (const std::exception&) {
      return false;
    }
  }

  /// The cell gets a state of its own with fewer fields, if nobody reads the one it has.
  bool drop_field(std::size_t c) {
    const Cell& cell = program_.cells[c];
    if (cell.outputs.size() < 2 || program_.cells.size() > 1) return false;
    for (std::size_t field = 0; field < cell.outputs.size(); ++field) {
      Program candidate = program_;
      State state = program_.states[std::size_t(cell.state)];
      state.name = "Out";
      while (std::ranges::find(candidate.states, state.name, &State::name) !=
             candidate.states.end())
        state.name += "_";
      state.fields.erase(state.fields.begin() + std::ptrdiff_t(field));
      candidate.states.push_back(std::move(state));
      Cell& fewer = candidate.cells[c];
      fewer.state = StateId(candidate.states.size()) - 1;
      fewer.outputs.erase(fewer.outputs.begin() + std::ptrdiff_t(field));
      fewer = rebuild(fewer, GraphBuilder::Mode::record);
      if (take(candidate)) return true;
    }
    return false;
  }

  bool drop_port(std::size_t c, int port) {
    if (program_.cells.size() > 1) return false;
    for (const Node& node : program_.cells[c].graph.nodes())
      if ((node.op->id == ir::OpId::port && node.attributes.ints[0] == port) ||
          node.type.children == port)
        return false;
    Program candidate = program_;
    Cell& cell = candidate.cells[c];
    cell.ports.erase(cell.ports.begin() + port);
    const auto moved = [port](int old) { return old > port ? old - 1 : old; };
    cell = rebuild(cell, GraphBuilder::Mode::record,
                   [&](GraphBuilder& b, const Node& node, std::span<const Value> operands) {
                     Type type = node.type;
                     type.children = std::int8_t(moved(type.children));
                     Attributes attributes = node.attributes;
                     if (node.op->attributes.ints[0] == "port")
                       attributes.ints[0] = moved(attributes.ints[0]);
                     if (node.op->kind == OpClass::leaf) return b.leaf(*node.op, type, attributes);
                     return b.apply(*node.op, operands, attributes);
                   });
    return take(candidate);
  }

  bool replace(std::size_t c, NodeId id) {
    const Node node = program_.cells[c].graph[id];
    if (node.op->kind == OpClass::leaf && node.op->id != ir::OpId::port) return false;
    if (node.type.dtype != DType::f32) return false;
    for (const NodeId operand : node.operands)
      if (program_.cells[c].graph[operand].type == node.type &&
          put(c, id, [&](GraphBuilder&, const std::vector<Value>& made) {
            return made[std::size_t(operand)];
          }))
        return true;
    if (node.type.children != per_instance || node.op->id == ir::OpId::port) return false;
    return put(c, id,
               [&](GraphBuilder& b, const std::vector<Value>&) {
                 return b.constant(0.5, node.type.shape);
               }) ||
           put_param(c, id, node.type.shape);
  }

  template <class Other>
  bool put(std::size_t c, NodeId id, const Other& other) {
    return take(with(program_, c, id, other));
  }

  bool put_param(std::size_t c, NodeId id, const Shape& shape) {
    Program candidate = program_;
    std::string name = "q";
    while (std::ranges::find(candidate.params, name, &Param::name) != candidate.params.end())
      name += "q";
    candidate.params.push_back({name, shape, Initializer::uniform(1)});
    const int param = int(candidate.params.size()) - 1;
    return take(with(candidate, c, id, [&](GraphBuilder& b, const std::vector<Value>&) {
      return b.leaf(ir::OpId::param, {DType::f32, shape, per_instance}, {.ints = {param, 0}});
    }));
  }

  /// The program with another value in the place of a node.
  template <class Other>
  static Program with(const Program& program, std::size_t c, NodeId id, const Other& other) {
    Program candidate = program;
    std::vector<Value> made;
    candidate.cells[c] = rebuild(
        program.cells[c], GraphBuilder::Mode::record,
        [&](GraphBuilder& b, const Node& node, std::span<const Value> operands) {
          made.push_back(NodeId(made.size()) == id ? other(b, made) : copy_node(b, node, operands));
          return made.back();
        });
    return candidate;
  }

  Program program_;
  const std::function<bool(const Program&)>& shows_;
  int tries_ = 2000;
};

}  // namespace

Program shrink(Program program, const std::function<bool(const Program&)>& shows) {
  return Shrinker(std::move(program), shows).run();
}

}  // namespace espalier::test
