// One minibatch being recorded: a program's cells are called, the calls become an instance graph at
// the granularity `cell` (an instance per call) or `op` (an instance per op of the body). Owned by
// the engine, which reads graph(), losses() and program(); written through Instances by the user.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ir/passes/expand.h"
#include "ir/passes/hoist.h"
#include "ir/program.h"
#include "ir/record/instance_graph.h"
#include "ir/record/instances.h"
#include "ir/record/recorder.h"
#include "ir/record/share_table.h"

namespace espalier::ir {

/// How calls become instances.
struct RecordOptions {
  Granularity granularity = Granularity::cell;
  /// Equal instances without randomness are one: calls of one cell on the same operands and
  /// indices, and so equal subtrees.
  bool share = false;
  /// Cells are split by ir/passes/hoist.h. Nothing is left to split at granularity `op`.
  bool hoist = false;
};

class Recorder {
 public:
  /// Records calls of the cells of `program`, which outlives the recorder and to which one-op cells
  /// are appended; nobody else may grow it.
  explicit Recorder(Program& program, RecordOptions options = {});
  Recorder(Program& program, Granularity granularity)
      : Recorder(program, RecordOptions{.granularity = granularity}) {}
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  /// Records a call. `operands` are the calls read by its Child and Children ports in port order;
  /// `indices` hold, in port order, the value of each Index port and the number of operands of each
  /// Children port. UserError if an operand has not the state of its port, if their numbers are not
  /// the ports', or if an index is negative or beyond the rows that it chooses from.
  CallId call(CellId cell, std::span<const CallId> operands,
              std::span<const std::int32_t> indices) {
    if (!fits(cell, operands, indices)) [[unlikely]]
      check(cell, operands, indices);
    call_states_.push_back(cells_[cell].state);
    if (spelled_) return spell(cell, operands, indices);
    return graph_.add(cell, operands, indices);
  }

  /// UserError if the program's cell of that number has another mark (ir/record/cell_mark.h), or
  /// was not there from the start. Mark 0 is unknown and passes.
  void expect(CellId cell, std::uint32_t mark) const {
    const bool same = static_cast<std::size_t>(cell) < marks_.size() && marks_[cell] == mark;
    if (!same && mark != 0) [[unlikely]]
      refuse_cell();
  }

  /// Adds the call's value to the objective. UserError unless it is one scalar.
  void loss(CallId call);

  /// As InstanceGraph::begin_example.
  void begin_example(std::uint64_t id) { graph_.begin_example(id); }

  /// Forgets the minibatch: handles made so far turn invalid, capacity is kept. `random` says
  /// whether dropout draws in the next one: if not, its calls may be shared too.
  void clear(bool random = true);

  /// Gives back what minibatches so far have taken; behind `clear`.
  void release();

  /// The number of calls; the first has the handle 0.
  std::size_t size() const { return call_states_.size(); }
  std::uint32_t generation() const { return generation_; }
  StateId state(CallId call) const { return call_states_[call]; }

  /// UserError unless the minibatch is still the one of that generation.
  void expect_generation(std::uint32_t generation) const {
    if (generation != generation_) [[unlikely]]
      refuse_minibatch();
  }

  CallHandle handle(CallId call) { return {this, call, generation_}; }
  /// The call that `handle` names. UserError if it belongs to another recorder or minibatch.
  CallId resolve(const CallHandle& handle) const {
    if (handle.recorder != this || handle.generation != generation_) [[unlikely]]
      refuse(handle);
    return handle.id;
  }

  /// The instance, and the field of its state, that hold field `field` of a call.
  std::pair<InstanceId, int> instance(CallId call, int field) const {
    if (!spelled_) return {call, field};
    if (!expansion_) return {call_instances_[call], field};
    return {fields_[field_begin_[call] + field], 0};
  }

  // Arithmetic outside cells becomes one-op cells; equal ones are one cell, made at first use.

  /// Records a number as a call whose state is one scalar: a row of its own, of no kernel.
  CallId number(float value);
  /// The cell that applies `op` to such operands. Its ports are those of the `call`, `number` and
  /// `index` operands in order. UserError where the op's shape rule does not hold.
  CellId op_cell(const Op& op, const Attributes& attributes, std::span<const OpOperand> operands);
  /// The cell that gives field `field` of a call of state `state` as a call of its own.
  CellId field_cell(StateId state, int field);

  Granularity granularity() const { return expansion_ ? Granularity::op : Granularity::cell; }
  /// The cells that calls name.
  const Program& source() const { return program_; }
  /// The cells that instances name: `source()`, its expansion to one-op cells, or its split cells.
  /// Grows at its end (cells and states) whenever arithmetic outside cells brings a new one-op
  /// cell.
  const Program& program() const {
    return expansion_ ? expansion_->program() : hoisting_ ? hoisting_->program() : program_;
  }

  InstanceGraph& graph() { return graph_; }
  const InstanceGraph& graph() const { return graph_; }
  /// Instances whose one scalar is a term of the objective, in the order in which they were marked.
  std::span<const InstanceId> losses() const { return losses_; }

  GraphSize size_of_graph() const {
    GraphSize size = graph_.graph_size();
    size.losses = losses_.size();
    return size;
  }
  /// What the minibatch holds, capacity included.
  std::size_t bytes() const {
    return graph_.bytes() + table_.bytes() +
           capacity_bytes(losses_, call_states_, call_instances_, field_begin_, fields_);
  }

  /// What the recorded calls take by themselves: the same whatever was recorded before.
  std::size_t used_bytes() const {
    const std::size_t shared = share_ ? 2 * ShareTable::bytes_each : 0;
    return size_of_graph().bytes() + size() * 2 * sizeof(CallId) + graph_.size() * shared +
           ExampleTable::most_bytes(graph_.examples()) / 2 + losses_.size() * sizeof(InstanceId);
  }

  CallLists& lists() { return lists_; }

 private:
  /// What a call of a cell is checked against. Ports of cells without Children ports have one
  /// operand or one index each: their states and bounds lie in operand_states_ and index_bounds_.
  struct CellPorts {
    StateId state = -1;
    bool fixed = false;  ///< no Children port
    std::uint32_t operand_begin = 0, operands = 0, index_begin = 0, indices = 0;
  };

  bool fits(CellId cell, std::span<const CallId> operands,
            std::span<const std::int32_t> indices) const {
    if (cell < 0 || static_cast<std::size_t>(cell) >= cells_.size()) [[unlikely]]
      return false;
    const CellPorts& ports = cells_[cell];
    if (!ports.fixed || operands.size() != ports.operands || indices.size() != ports.indices)
      return false;
    bool fit = true;
    for (std::size_t i = 0; i < operands.size(); ++i)
      fit = fit && operands[i] < call_states_.size() &&
            call_states_[operands[i]] == operand_states_[ports.operand_begin + i];
    for (std::size_t i = 0; i < indices.size(); ++i)
      fit = fit && static_cast<std::uint32_t>(indices[i]) < index_bounds_[ports.index_begin + i];
    return fit;
  }

  /// The same at leisure, for any ports; throws the UserError.
  void check(CellId cell, std::span<const CallId> operands,
             std::span<const std::int32_t> indices) const;
  [[noreturn]] void refuse(const CallHandle& handle) const;
  [[noreturn]] void refuse_cell() const;
  [[noreturn]] static void refuse_minibatch();
  /// A call that is not simply one new instance of its number.
  CallId spell(CellId cell, std::span<const CallId> operands,
               std::span<const std::int32_t> indices);
  /// The instance that holds the call: shared, split, or neither.
  InstanceId record(CellId cell, std::span<const CallId> operands,
                    std::span<const std::int32_t> indices);
  void expand(CellId cell, std::span<const CallId> operands, std::span<const std::int32_t> indices);
  /// An instance of the open call, or an equal one of an earlier call.
  InstanceId add(CellId cell, std::span<const InstanceId> operands,
                 std::span<const std::int32_t> indices, std::uint32_t element = 0);
  std::span<const std::int32_t> pick(std::span<const std::int32_t> indices,
                                     std::span<const int> positions);
  InstanceId read(const StepSource& source, std::span<const CallId> operands,
                  std::uint32_t element) const;
  void register_cell(const Cell& cell);
  template <class Make>
  CellId intern(const Op* op, const Attributes& attributes, std::span<const OpOperand> operands,
                Make make);

  CellId number_cell();

  /// What a one-op cell was made from; `op` is null for a field.
  struct OpKey {
    const Op* op = nullptr;
    Attributes attributes;
    std::vector<OpOperand> operands;
    CellId cell = -1;
  };

  Program& program_;
  std::unique_ptr<Expansion> expansion_;  // granularity op
  std::unique_ptr<Hoisting> hoisting_;
  bool share_ = false;
  bool spelled_ = false;  // any of these: calls and instances have numbers of their own
  InstanceGraph graph_;
  std::vector<InstanceId> losses_;
  std::vector<StateId> call_states_;
  std::uint32_t generation_ = 0;

  std::vector<std::uint32_t> marks_;  // of the cells that were there from the start
  std::vector<CellPorts> cells_;
  std::vector<StateId> operand_states_;
  std::vector<std::uint32_t> index_bounds_;  // an index is less than its bound
  std::unordered_multimap<std::size_t, OpKey> op_cells_;
  CellId number_cell_ = -1;

  ShareTable table_;
  std::vector<std::uint8_t> draws_;  // cell of program() → has dropout
  bool random_ = true;               // dropout draws

  std::vector<InstanceId> call_instances_;  // granularity cell
  // granularity op
  std::vector<std::uint32_t> field_begin_;  // call → position in fields_
  std::vector<InstanceId> fields_;
  // scratch of spell
  std::vector<std::uint32_t> step_first_;  // step → position in step_instances_
  std::vector<InstanceId> step_instances_, step_operands_;
  std::vector<std::uint32_t> operand_first_, index_first_;  // port → position
  std::vector<std::int32_t> step_indices_;

  CallLists lists_;
};

}  // namespace espalier::ir
