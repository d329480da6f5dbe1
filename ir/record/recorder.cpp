#include "ir/record/recorder.h"

#include <algorithm>
#include <bit>
#include <string>
#include <type_traits>

#include "base/error.h"
#include "ir/build.h"
#include "ir/op.h"
#include "ir/passes/simplify.h"
#include "ir/record/cell_mark.h"
#include "ir/record/index_bounds.h"

namespace espalier::ir {

Recorder::Recorder(Program& program, RecordOptions options)
    : program_(program), share_(options.share) {
  if (options.granularity == Granularity::op)
    expansion_ = std::make_unique<Expansion>(program);
  else if (options.hoist)
    hoisting_ = std::make_unique<Hoisting>(program);
  // Cells that come later have one op: nothing to split.
  if (hoisting_ && std::ranges::none_of(hoisting_->cells(), &HoistedCell::is_split))
    hoisting_ = nullptr;
  spelled_ = expansion_ || hoisting_ || share_;
  for (const Cell& cell : program.cells) {
    register_cell(cell);
    marks_.push_back(cell_mark(program, cell));
  }
  clear();
}

void Recorder::register_cell(const Cell& cell) {
  CellPorts ports{cell.state,
                  true,
                  static_cast<std::uint32_t>(operand_states_.size()),
                  0,
                  static_cast<std::uint32_t>(index_bounds_.size()),
                  0};
  for (const Port& port : cell.ports) {
    if (port.kind == PortKind::children) ports.fixed = false;
    if (port.kind == PortKind::child) operand_states_.push_back(port.state);
  }
  for (const IndexBound& bound : index_bounds(program_, cell)) index_bounds_.push_back(bound.rows);
  if (is_input(cell)) ports.fixed = false;  // refused by `check`
  ports.operands = static_cast<std::uint32_t>(operand_states_.size()) - ports.operand_begin;
  ports.indices = static_cast<std::uint32_t>(index_bounds_.size()) - ports.index_begin;
  cells_.push_back(ports);
  while (draws_.size() < this->program().cells.size())
    draws_.push_back(has_dropout(this->program().cells[draws_.size()]));
}

void Recorder::clear(bool random) {
  random_ = random;
  table_.clear();
  graph_.clear();
  losses_.clear();
  call_states_.clear();
  call_instances_.clear();
  field_begin_.clear();
  fields_.clear();
  ++generation_;
}

void Recorder::release() {
  const auto free = [](auto&... lists) {
    ((lists = std::remove_reference_t<decltype(lists)>()), ...);  // `= {}` would keep the room
  };
  free(graph_, table_, losses_, call_states_, call_instances_, field_begin_, fields_);
}

void Recorder::check(CellId id, std::span<const CallId> operands,
                     std::span<const std::int32_t> indices) const {
  user_check(id >= 0, "a cell is called that no model has made");
  user_check(id < static_cast<CellId>(cells_.size()), "program '{}' has no cell {}, only {}",
             program_.name, id, cells_.size());
  const Cell& cell = program_.cells[id];
  user_check(!is_input(cell), "cell '{}' holds what is recorded and cannot be called", cell.name);
  const auto fail = [&](const Port& port, const std::string& what) {
    throw UserError(fmt::format("cell '{}', port '{}': {}", cell.name, port.name, what));
  };
  std::size_t operand = 0, index = 0, index_port = 0;
  for (const Port& port : cell.ports) {
    std::size_t count = 1;
    if (port.kind != PortKind::child) {
      if (index == indices.size()) fail(port, "an index or a number of children is missing");
      const std::int32_t value = indices[index++];
      if (value < 0) fail(port, fmt::format("found {}, expected no negative number", value));
      count = port.kind == PortKind::children ? static_cast<std::size_t>(value) : 0;
    }
    if (port.kind == PortKind::index) {
      const std::uint32_t rows = index_bounds_[cells_[id].index_begin + index_port];
      if (static_cast<std::uint32_t>(indices[index - 1]) >= rows)
        fail(port, fmt::format("found {}, but {} has {} rows", indices[index - 1],
                               index_bounds(program_, cell)[index_port].of, rows));
      ++index_port;
    }
    for (std::size_t i = 0; i < count; ++i, ++operand) {
      if (operand == operands.size())
        fail(port, fmt::format("expected {} calls, found {}", count, i));
      const CallId call = operands[operand];
      if (call >= call_states_.size())
        fail(port, fmt::format("there is no call {}; {} are recorded", call, call_states_.size()));
      if (call_states_[call] != port.state)
        fail(port, fmt::format("expected a '{}', found a '{}'", program_.states[port.state].name,
                               program_.states[call_states_[call]].name));
    }
  }
  user_check(operand == operands.size() && index == indices.size(),
             "cell '{}': expected {} calls and {} indices, found {} and {}", cell.name, operand,
             index, operands.size(), indices.size());
}

void Recorder::refuse(const CallHandle& handle) const {
  user_check(handle.recorder != nullptr, "a call is used that was never made");
  user_check(handle.recorder == this, "a call of another engine's minibatch is used");
  throw UserError("a call of an earlier minibatch is used: calls end when the next one begins");
}

void Recorder::refuse_cell() const {
  throw UserError(
      fmt::format("a cell is called that program '{}' has not: it is of another model, or was made "
                  "after the engine",
                  program_.name));
}

void Recorder::refuse_minibatch() {
  throw UserError(
      "the Instances of an earlier minibatch are used: they end when the next one begins");
}

void Recorder::loss(CallId call) {
  user_check(call < call_states_.size(), "there is no call {}; {} are recorded", call,
             call_states_.size());
  const State& state = program_.states[call_states_[call]];
  user_check(state.fields.size() == 1 && state.fields[0].shape.rank() == 0,
             "a loss must be one scalar, found a '{}'", state.name);
  losses_.push_back(instance(call, 0).first);
}

InstanceId Recorder::add(CellId cell, std::span<const InstanceId> operands,
                         std::span<const std::int32_t> indices, std::uint32_t element) {
  if (share_ && !(random_ && draws_[cell])) {
    const InstanceId found = table_.find_or_insert(graph_, cell, operands, indices);
    if (found < graph_.size()) return found;
  }
  return graph_.add_part(cell, operands, indices, element);
}

CallId Recorder::spell(CellId cell, std::span<const CallId> operands,
                       std::span<const std::int32_t> indices) {
  graph_.begin_call();
  if (expansion_)
    expand(cell, operands, indices);
  else
    call_instances_.push_back(record(cell, operands, indices));
  return static_cast<CallId>(call_states_.size() - 1);
}

InstanceId Recorder::record(CellId cell, std::span<const CallId> operands,
                            std::span<const std::int32_t> indices) {
  step_operands_.clear();
  for (CallId operand : operands) step_operands_.push_back(call_instances_[operand]);
  if (!hoisting_) return add(cell, step_operands_, indices);
  const HoistedCell& spelled = hoisting_->cells()[cell];
  if (!spelled.is_split()) return add(spelled.cell, step_operands_, indices);
  step_operands_.push_back(add(spelled.hoisted, {}, pick(indices, spelled.hoisted_indices)));
  return add(spelled.cell, step_operands_, pick(indices, spelled.indices));
}

std::span<const std::int32_t> Recorder::pick(std::span<const std::int32_t> indices,
                                             std::span<const int> positions) {
  step_indices_.clear();
  for (int position : positions) step_indices_.push_back(indices[position]);
  return step_indices_;
}

void Recorder::expand(CellId cell, std::span<const CallId> operands,
                      std::span<const std::int32_t> indices) {
  operand_first_.clear();
  index_first_.clear();
  std::uint32_t operand = 0, index = 0;
  for (const Port& port : program_.cells[cell].ports) {
    operand_first_.push_back(operand);
    index_first_.push_back(index);
    if (port.kind != PortKind::index)
      operand += port.kind == PortKind::child ? 1 : static_cast<std::uint32_t>(indices[index]);
    if (port.kind != PortKind::child) ++index;
  }
  const CellTemplate& body = expansion_->templates()[cell];
  step_first_.clear();
  step_instances_.clear();
  for (const Step& step : body.steps) {
    const std::uint32_t children =
        step.over < 0 ? 1 : static_cast<std::uint32_t>(indices[index_first_[step.over]]);
    step_first_.push_back(static_cast<std::uint32_t>(step_instances_.size()));
    for (std::uint32_t element = 0; element < (step.combines ? 1 : children); ++element) {
      step_operands_.clear();
      step_indices_.clear();
      for (const StepSource& source : step.operands) {
        if (!step.combines)
          step_operands_.push_back(read(source, operands, element));
        else
          for (std::uint32_t k = 0; k < children; ++k)
            step_operands_.push_back(read(source, operands, k));
      }
      if (step.combines) step_indices_.push_back(static_cast<std::int32_t>(children));
      for (int port : step.index_ports) step_indices_.push_back(indices[index_first_[port]]);
      step_instances_.push_back(add(step.cell, step_operands_, step_indices_, element));
    }
  }
  field_begin_.push_back(static_cast<std::uint32_t>(fields_.size()));
  for (const StepSource& output : body.outputs) fields_.push_back(read(output, operands, 0));
}

InstanceId Recorder::read(const StepSource& source, std::span<const CallId> operands,
                          std::uint32_t element) const {
  const std::uint32_t offset = source.each ? element : 0;
  if (source.kind == StepSource::Kind::step)
    return step_instances_[step_first_[source.id] + offset];
  return instance(operands[operand_first_[source.id] + offset], source.field).first;
}

namespace {

std::size_t hash_key(const Op* op, const Attributes& attributes,
                     std::span<const OpOperand> operands) {
  std::size_t seed = std::hash<const void*>()(op);
  const auto mix = [&](std::size_t value) { seed = seed * 1000003 ^ value; };
  for (std::int32_t value : attributes.ints) mix(static_cast<std::size_t>(value));
  mix(std::bit_cast<std::uint64_t>(attributes.number));
  mix(static_cast<std::size_t>(attributes.shape.size()));
  for (const OpOperand& operand : operands) {
    mix(static_cast<std::size_t>(operand.kind));
    mix(static_cast<std::size_t>(operand.id));
  }
  return seed;
}

std::string describe(const Program& program, const Node& node) {
  if (node.op->id != OpId::param) return "";
  return "param '" + program.params[node.attributes.ints[0]].name + "'";
}

}  // namespace

template <class Make>
CellId Recorder::intern(const Op* op, const Attributes& attributes,
                        std::span<const OpOperand> operands, Make make) {
  const std::size_t hash = hash_key(op, attributes, operands);
  for (auto [it, end] = op_cells_.equal_range(hash); it != end; ++it) {
    const OpKey& key = it->second;
    if (key.op == op && key.attributes == attributes && std::ranges::equal(key.operands, operands))
      return key.cell;
  }
  Cell cell = make();
  cell.name = unused_cell_name(program_, cell.name);
  program_.cells.push_back(std::move(cell));
  if (expansion_) expansion_->add(program_, program_.cells.back());
  if (hoisting_) hoisting_->add(program_, program_.cells.back());
  register_cell(program_.cells.back());
  const auto id = static_cast<CellId>(program_.cells.size() - 1);
  op_cells_.emplace(hash, OpKey{op, attributes, {operands.begin(), operands.end()}, id});
  return id;
}

CellId Recorder::op_cell(const Op& op, const Attributes& attributes,
                         std::span<const OpOperand> operands) {
  const bool numbers =
      std::ranges::find(operands, OpOperand::Kind::number, &OpOperand::kind) != operands.end();
  const CellId number = numbers ? number_cell() : -1;
  return intern(&op, attributes, operands, [&] {
    GraphBuilder builder(GraphBuilder::Mode::record, "outside cells");
    builder.describe = [&](const Node& node) { return describe(program_, node); };
    Cell cell;
    cell.name = op.name;
    std::vector<Value> values;
    for (const OpOperand& operand : operands) {
      switch (operand.kind) {
        case OpOperand::Kind::call: {
          const State& state = program_.states[operand.id];
          user_check(state.fields.size() == 1, "{}: operand is a '{}' of {} tensors, not one",
                     op.name, state.name, state.fields.size());
          const int port = add_port(cell, PortKind::child, operand.id);
          values.push_back(builder.leaf(OpId::port, state.fields[0], {.ints = {port, 0}}));
          break;
        }
        case OpOperand::Kind::param:
          user_check(operand.id >= 0 && operand.id < int(program_.params.size()) &&
                         program_.params[operand.id].shape == operand.shape,
                     "{}: program '{}' has no such param", op.name, program_.name);
          values.push_back(builder.leaf(
              OpId::param, {DType::f32, program_.params[operand.id].shape, per_instance},
              {.ints = {operand.id, 0}}));
          break;
        case OpOperand::Kind::index: {
          const int port = add_port(cell, PortKind::index, -1);
          values.push_back(
              builder.leaf(OpId::port, {DType::i32, {}, per_instance}, {.ints = {port, 0}}));
          break;
        }
        case OpOperand::Kind::number: {
          const Cell& numbers = program_.cells[number];
          const int port = add_port(cell, PortKind::child, numbers.state);
          values.push_back(builder.leaf(OpId::port, numbers.graph[0].type, {.ints = {port, 0}}));
          if (operand.shape.rank() > 0)
            values.back() =
                builder.apply(OpId::broadcast, {values.back()}, {.shape = operand.shape});
          break;
        }
      }
    }
    const Value result = builder.apply(op, values, attributes);
    cell.outputs = {result.id};
    cell.state = tensor_state(program_, result.type());
    cell.graph = builder.finish(cell.outputs);
    return cell;
  });
}

CellId Recorder::number_cell() {
  if (number_cell_ >= 0) return number_cell_;
  return number_cell_ = intern(&op(OpId::input), {}, {}, [&] {
           Cell cell;
           cell.name = "number";
           const Type type{DType::f32, {}, per_instance};
           GraphBuilder builder(GraphBuilder::Mode::record);
           cell.outputs = {builder.leaf(OpId::input, type, {}).id};
           cell.state = tensor_state(program_, type);
           cell.graph = builder.finish(cell.outputs);
           return cell;
         });
}

CallId Recorder::number(float value) {
  CellId cell = number_cell();
  call_states_.push_back(cells_[cell].state);
  if (expansion_) cell = expansion_->templates()[cell].steps[0].cell;
  if (hoisting_) cell = hoisting_->cells()[cell].cell;
  const auto bits = std::bit_cast<std::int32_t>(value);
  const auto next = static_cast<InstanceId>(graph_.size());
  const InstanceId id =
      share_ ? table_.find_or_insert(graph_, cell, {}, std::span(&bits, 1)) : next;
  if (id == next) graph_.add_input(cell, std::span(&bits, 1));
  if (expansion_) {
    field_begin_.push_back(static_cast<std::uint32_t>(fields_.size()));
    fields_.push_back(id);
  } else if (spelled_) {
    call_instances_.push_back(id);
  }
  return static_cast<CallId>(call_states_.size() - 1);
}

CellId Recorder::field_cell(StateId state, int field) {
  const OpOperand operand{OpOperand::Kind::call, state, {}};
  return intern(nullptr, {.ints = {field, 0}}, std::span(&operand, 1), [&] {
    internal_check(field >= 0 && field < int(program_.states[state].fields.size()),
                   "state '{}' has no field {}", program_.states[state].name, field);
    const Type type = program_.states[state].fields[field];
    GraphBuilder builder(GraphBuilder::Mode::record);
    Cell cell{"field", {}, tensor_state(program_, type), {}, {}};
    add_port(cell, PortKind::child, state);
    cell.outputs = {builder.leaf(OpId::port, type, {.ints = {0, field}}).id};
    cell.graph = builder.finish(cell.outputs);
    return cell;
  });
}

}  // namespace espalier::ir
