// Every op of the table, forward, backward and for the gradients of weights, beside the roofline of
// this machine: max(operations ÷ peak, bytes ÷ bandwidth), on one core. Ops far below their
// neighbours are cliffs: a kernel that is no contraction where it should be, a value copied or made
// too often.
//   ops_bench [op…]
#include <fmt/core.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "bench/measure/machine.h"
#include "bench/measure/step_work.h"
#include "ir/op.h"
#include "ir/passes/pipeline.h"
#include "runtime/engine.h"
#include "runtime/step/cell_kernels.h"

namespace {

using namespace espalier;
using bench::Part;
using ir::Node;
using ir::NodeId;
using ir::Shape;
using ir::Type;
using ir::Value;

constexpr int instances = 256, children_each = 3, table_rows = 64, times_larger = 16;
/// Below this fraction of the roofline an op is marked, unless it takes no time worth mention.
constexpr double cliff = 0.1, worth_nanoseconds = 20;

/// One way to call an op: matrices may be weights, which all instances share.
struct Call {
  const ir::Op* op = nullptr;
  std::vector<Type> operands;
  ir::Attributes attributes;
  int weights = -1;  ///< the operand that all instances share, or -1

  std::string name() const {
    std::string text;
    for (std::size_t i = 0; i < operands.size(); ++i)
      text += fmt::format("{}{}{}", i ? ", " : "", to_string(operands[i].shape),
                          weights == static_cast<int>(i) ? " weights" : "");
    return fmt::format("{}({})", op->name, text);
  }
};

Shape larger(const Shape& shape) {
  std::vector<std::int64_t> extents;
  for (int axis = 0; axis < shape.rank(); ++axis)
    extents.push_back(shape[axis] == 1 ? 1 : std::int64_t{shape[axis]} * times_larger);
  return Shape(std::span<const std::int64_t>(extents));
}

/// The example with each axis longer, where the op allows that.
Call larger(Call call) {
  const ir::Op& op = *call.op;
  for (Type& type : call.operands) type.shape = larger(type.shape);
  call.attributes.shape = larger(call.attributes.shape);
  for (std::size_t i = 0; i < op.attributes.ints.size(); ++i)
    if (op.attributes.ints[i] == "begin") call.attributes.ints[i] *= times_larger;
  return call;
}

/// A Children port for ops that name one; port 0, of the state of the first operand.
void add_kids(ir::Cell& cell) { cell.ports.push_back({"kids", ir::PortKind::children, 0}); }

/// A program that brings the operands from rows of tables, calls the op, and sums up its result.
ir::Program program_of(const Call& call) {
  ir::Program program{"ops", {}, {}, {}};
  ir::Cell cell{"op", {}, -1, {}, {}};
  ir::GraphBuilder builder(ir::GraphBuilder::Mode::record, "in the call");
  std::vector<Value> operands;
  if (call.op->attributes.ints[0] == "port") add_kids(cell);
  for (std::size_t i = 0; i < call.operands.size(); ++i) {
    Type type = call.operands[i];
    const auto port = static_cast<int>(cell.ports.size());
    const std::string name = fmt::format("x{}", i);
    if (type.dtype == ir::DType::i32) {
      cell.ports.push_back({name, ir::PortKind::index, -1});
      operands.push_back(builder.leaf(ir::OpId::port, type, {.ints = {port, 0}}));
      continue;
    }
    if (call.weights == static_cast<int>(i)) {
      operands.push_back(builder.leaf(ir::OpId::param, type,
                                      {.ints = {static_cast<int>(program.params.size()), 0}}));
      program.params.push_back({name, type.shape, ir::Initializer::uniform(0.5)});
      continue;
    }
    const bool kids = type.children != ir::per_instance;
    const auto state = static_cast<ir::StateId>(program.states.size());
    const Type stored{type.dtype, type.shape, ir::per_instance};
    program.states.push_back({name, {stored}});
    cell.ports.push_back({name, kids ? ir::PortKind::children : ir::PortKind::child, state});
    if (kids) type.children = static_cast<std::int8_t>(port);
    operands.push_back(builder.leaf(ir::OpId::port, type, {.ints = {port, 0}}));

    ir::Cell leaf{"leaf_" + name, {{"i", ir::PortKind::index, -1}}, state, {}, {}};
    ir::GraphBuilder rows(ir::GraphBuilder::Mode::record, "in a leaf");
    const Type table{type.dtype, type.shape.prepend(table_rows), ir::per_instance};
    const Value of = rows.leaf(ir::OpId::param, table, {.ints = {int(program.params.size()), 0}});
    const Value index = rows.leaf(ir::OpId::port, {ir::DType::i32, {}, ir::per_instance}, {});
    leaf.outputs = {rows.apply(ir::OpId::row, {of, index}).id};
    leaf.graph = rows.finish(leaf.outputs);
    program.params.push_back({"table_" + name, table.shape, ir::Initializer::uniform(0.5)});
    program.cells.push_back(std::move(leaf));
  }
  Value result = builder.apply(*call.op, operands, call.attributes);
  if (result.type().children != ir::per_instance)
    result = builder.apply(ir::OpId::sum_children, {result});
  const Type out = result.type();
  cell.state = static_cast<ir::StateId>(program.states.size());
  cell.outputs = {result.id};
  cell.graph = builder.finish(cell.outputs);
  program.states.push_back({"out", {out}});
  program.cells.push_back(std::move(cell));

  ir::Cell loss{"loss", {{"y", ir::PortKind::child, program.cells.back().state}}, -1, {}, {}};
  ir::GraphBuilder sum(ir::GraphBuilder::Mode::record, "in the loss");
  const Value y = sum.leaf(ir::OpId::port, out, {});
  const Value flat = sum.apply(ir::OpId::reshape, {y}, {.shape = {out.shape.size()}});
  loss.outputs = {sum.apply(ir::OpId::sum, {flat * flat}).id};
  loss.graph = sum.finish(loss.outputs);
  loss.state = static_cast<ir::StateId>(program.states.size());
  program.states.push_back({"loss", {{ir::DType::f32, {}, ir::per_instance}}});
  program.cells.push_back(std::move(loss));
  return program;
}

/// Operations of an element-wise body: as many as exp, log and tanh come to here, and division.
class Counter final : public ir::ScalarSink {
 public:
  int emit(ir::Opcode op, std::span<const int>, double) override {
    switch (op) {
      case ir::Opcode::constant:
        return 0;
      case ir::Opcode::exp:
      case ir::Opcode::log:
      case ir::Opcode::tanh:
        operations += 25;
        return 0;
      case ir::Opcode::div:
      case ir::Opcode::sqrt:
        operations += 8;
        return 0;
      default:
        operations += 1;
        return 0;
    }
  }
  double operations = 0;
};

/// What a kernel has to do for one instance; `shared_bytes` once for all.
struct Work {
  double operations = 0, bytes = 0, shared_bytes = 0;

  void add_bytes(const Type& type) {
    bytes += 4.0 * double(type.shape.size()) * (type.children >= 0 ? children_each : 1);
  }
};

/// Of the nodes that are needed; each leaf is read once.
Work work_of(const ir::Graph& graph) {
  Work work;
  for (const Node& node : graph.nodes()) {
    const double each = node.type.children >= 0 ? children_each : 1;
    const double size = double(node.type.shape.size()) * each;
    switch (node.op->kind) {
      case ir::OpClass::leaf:
        if (node.op->id == ir::OpId::param)
          work.shared_bytes += 4 * size;
        else if (node.op->id != ir::OpId::constant && node.op->id != ir::OpId::iota)
          work.add_bytes(node.type);
        break;
      case ir::OpClass::elementwise: {
        Counter counter;
        const ir::Scalar x{&counter, 0};
        const ir::Scalar operands[] = {x, x, x};
        node.op->scalar(operands);
        work.operations += counter.operations * size;
        break;
      }
      case ir::OpClass::reduction: {
        const Type& from = graph[node.operands[0]].type;
        work.operations += double(from.shape.size()) * (from.children >= 0 ? children_each : 1);
        break;
      }
      case ir::OpClass::contraction: {
        double inner = 1;
        for (int axis = 0; axis < node.op->meeting; ++axis)
          inner *= graph[node.operands[1]].type.shape[axis];
        work.operations += (node.op->meeting ? 2 : 1) * inner * size;
        break;
      }
      case ir::OpClass::movement:
      case ir::OpClass::composite:
        break;
    }
  }
  return work;
}

/// By part of the op's cell.
std::map<Part, Work> works_of(const ir::Program& program, const ir::Cell& source) {
  const ir::Differentiated d = ir::training_cells(program, source);
  std::map<Part, Work> works;
  Work& forward = works[Part::forward] = work_of(d.forward.graph);
  for (const NodeId output : d.forward.outputs) forward.add_bytes(d.forward.graph[output].type);
  Work& backward = works[Part::backward] = work_of(d.backward.graph);
  for (const ir::ChildGradient& gradient : d.backward.child_gradients)
    backward.add_bytes(d.backward.graph[gradient.output].type);
  for (const ir::ParamContribution& c : d.backward.contributions) {
    if (c.kind == ir::ParamContribution::Kind::rows) continue;
    Work& weights = works[Part::weights];
    const Type& left = d.backward.graph[c.left].type;
    const double size = double(program.params[std::size_t(c.param)].shape.size());
    const double terms = left.shape.rank() == 2 && c.right >= 0 ? left.shape[0] : 1;
    weights.operations += (c.right >= 0 ? 2 * terms : 1) * size;
    weights.add_bytes(left);
    if (c.right >= 0) weights.add_bytes(d.backward.graph[c.right].type);
    weights.shared_bytes += 4 * size;
  }
  return works;
}

/// The shortest time of each part of the op's cell.
std::map<Part, double> measure(const ir::Program& program, const Call& call) {
  EngineOptions options;
  options.threads = 1;
  options.device = Device::cpu;
  options.share = false;
  Engine engine(program, options);
  engine.set_profiling(true);
  std::map<Part, double> best;
  for (int step = 0; step < 12; ++step) {
    const Instances minibatch = engine.instances();
    ir::Recorder& recorder = minibatch.recorder();
    for (int i = 0; i < instances; ++i) {
      std::vector<ir::CallId> operands;
      std::vector<std::int32_t> indices;
      ir::CellId leaf = 0;
      if (call.op->attributes.ints[0] == "port") {
        const std::int32_t row = i % table_rows;
        operands.assign(children_each, recorder.call(leaf, {}, std::span(&row, 1)));
        indices.push_back(children_each);
      }
      for (std::size_t k = 0; k < call.operands.size(); ++k) {
        if (call.operands[k].dtype == ir::DType::i32) {
          indices.push_back(i % 3);
          continue;
        }
        if (call.weights == static_cast<int>(k)) continue;
        const bool kids = call.operands[k].children != ir::per_instance;
        if (kids) indices.push_back(children_each);
        for (int child = 0; child < (kids ? children_each : 1); ++child) {
          const std::int32_t row = (i * children_each + child) % table_rows;
          operands.push_back(recorder.call(leaf, {}, std::span(&row, 1)));
        }
        ++leaf;
      }
      const ir::CallId op = recorder.call(leaf, operands, indices);
      recorder.loss(recorder.call(leaf + 1, std::span(&op, 1), {}));
    }
    engine.gradients(minibatch);
    std::map<Part, double> seconds;
    for (const LaunchProfile& launch : engine.profile())
      for (const Part part : {Part::forward, Part::backward, Part::weights})
        if (launch.kernel == fmt::format("op.{}", bench::part_names[std::size_t(part)]))
          seconds[part] += launch.seconds;
    for (const auto& [part, time] : seconds) {
      const auto [found, fresh] = best.emplace(part, time);
      if (!fresh) found->second = std::min(found->second, time);
    }
  }
  return best;
}

double floor_seconds(const Work& work, const bench::Machine& machine) {
  const double bytes = work.bytes * instances + work.shared_bytes;
  return std::max(work.operations * instances / machine.flops_one_thread,
                  bytes / bench::bandwidth_at(machine.bandwidth, bytes));
}

void report(const Call& call, const bench::Machine& machine) {
  const ir::Program program = program_of(call);
  const std::map<Part, double> seconds = measure(program, call);
  const auto op = std::ranges::find(program.cells, std::string("op"), &ir::Cell::name);
  for (const auto& [part, work] : works_of(program, *op)) {
    const auto measured = seconds.find(part);
    if (measured == seconds.end() || measured->second <= 0) continue;
    const double least = floor_seconds(work, machine), fraction = least / measured->second;
    const double each = 1e9 * measured->second / instances;
    fmt::print("{:<44} {:<8} {:>9.1f} {:>9.1f} {:>6.2f}{}\n", call.name(),
               bench::part_names[std::size_t(part)], each, 1e9 * least / instances, fraction,
               fraction < cliff && each > worth_nanoseconds ? "  <" : "");
  }
}

void report(const ir::Op& op, const bench::Machine& machine) {
  for (const ir::Op::Example& example : op.examples) {
    Call call{&op, example.operands, example.attributes, -1};
    try {
      program_of(larger(call));
      call = larger(call);
    } catch (const UserError&) {
      // Its attributes name numbers that do not grow with the axes.
    }
    report(call, machine);
    if (op.kind == ir::OpClass::elementwise || call.operands.size() < 2) continue;
    for (std::size_t i = 0; i < 2; ++i) {
      if (call.operands[i].shape.rank() < 2) continue;
      call.weights = static_cast<int>(i);
      report(call, machine);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string_view> wanted(argv + 1, argv + argc);
  try {
    for (const std::string_view name : wanted) ir::op(name);
    bench::Machine machine;
    machine.threads = 1;
    ThreadTeam team(1);
    bench::measure_flops(team, machine);
    bench::measure_bandwidth(team, machine);
    fmt::print("one core: {:.0f} GFLOP/s; {} instances\n", 1e-9 * machine.flops_one_thread,
               instances);
    fmt::print("{:<44} {:<8} {:>9} {:>9} {:>6}\n", "op", "part", "ns each", "least", "of it");
    for (const ir::Op& op : ir::ops()) {
      if (op.kind == ir::OpClass::leaf) continue;
      if (!wanted.empty() && std::ranges::find(wanted, op.name) == wanted.end()) continue;
      report(op, machine);
    }
  } catch (const UserError& error) {
    fmt::print(stderr, "ops_bench: {}\n", error.what());
    return 2;
  }
}
