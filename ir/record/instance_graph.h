// The instance graph: who calls which cell on whose outputs, for all examples of a minibatch.
// Recorded for every minibatch at a few nanoseconds a call; read by the scheduler and the layout.
// Structure of arrays, operands precede users, append-only, no tensors; `clear` keeps the capacity.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ir/program.h"
#include "ir/record/example_table.h"

namespace espalier::ir {

using InstanceId = std::uint32_t;

/// What vectors hold, capacity included.
template <class... T>
std::size_t capacity_bytes(const std::vector<T>&... vectors) {
  return ((vectors.capacity() * sizeof(T)) + ... + 0);
}

/// How much an instance graph, or a part of one, holds.
struct GraphSize {
  std::size_t instances = 0, operands = 0, indices = 0, losses = 0;

  /// Of an InstanceGraph of that size, if it has no room besides.
  std::size_t bytes() const {
    constexpr std::size_t each = sizeof(CellId) + sizeof(std::uint64_t) + 4 * sizeof(std::uint32_t);
    return (instances + 1) * each + operands * sizeof(InstanceId) + indices * sizeof(std::int32_t);
  }
};

class InstanceGraph {
 public:
  InstanceGraph() { clear(); }

  void clear();
  void reserve(std::size_t instances, std::size_t operands, std::size_t indices);

  /// Adds a call of `cell`. `operands` are the instances of its Child and Children ports in port
  /// order; `indices` hold, in port order, the value of each Index port and the number of operands
  /// of each Children port. The caller has checked both against the cell's ports.
  InstanceId add(CellId cell, std::span<const InstanceId> operands,
                 std::span<const std::int32_t> indices) {
    begin_call();
    return add_part(cell, operands, indices);
  }

  /// Adds an instance of an input cell (ir/build.h) with its numbers, all fields one after the
  /// other, bit by bit. It draws nothing and is no call of its example.
  InstanceId add_input(CellId cell, std::span<const std::int32_t> bits) {
    return add_copy(cell, {}, bits, {example_, calls_in_example_, 0});
  }

  /// Opens a call that is spelled in several instances, or in none: those added by `add_part` up to
  /// the next call share its random stream.
  void begin_call() { stream_now_ = {example_, calls_in_example_++, 0}; }

  /// Adds an instance of the open call. `element` tells instances of one value per child apart.
  InstanceId add_part(CellId cell, std::span<const InstanceId> operands,
                      std::span<const std::int32_t> indices, std::uint32_t element = 0) {
    cell_.push_back(cell);
    stream_.push_back({stream_now_.example, stream_now_.call, element});
    for (InstanceId operand : operands) operands_.push_back(operand);
    for (std::int32_t index : indices) indices_.push_back(index);
    operand_begin_.push_back(static_cast<std::uint32_t>(operands_.size()));
    index_begin_.push_back(static_cast<std::uint32_t>(indices_.size()));
    return static_cast<InstanceId>(cell_.size() - 1);
  }

  /// Calls from here on belong to the example with this id (dropout is keyed by it): a new one, or
  /// one that was begun before and goes on. Calls before the first belong to example 0, uncounted.
  void begin_example(std::uint64_t id) {
    if (id != example_ || examples_.size() == 0) go_on(id);
  }

  std::size_t size() const { return cell_.size(); }
  std::size_t bytes() const {
    return capacity_bytes(cell_, stream_, operand_begin_, index_begin_, operands_, indices_) +
           examples_.bytes();
  }
  /// But for losses, which the recorder knows.
  GraphSize graph_size() const { return {size(), operands_.size(), indices_.size(), 0}; }
  /// Examples that were begun.
  std::size_t examples() const { return examples_.size(); }
  CellId cell(InstanceId i) const { return cell_[i]; }
  std::span<const CellId> cells() const { return cell_; }
  std::span<const InstanceId> operands(InstanceId i) const {
    return {operands_.data() + operand_begin_[i], operand_begin_[i + 1] - operand_begin_[i]};
  }
  /// Of an input cell: the bits of its numbers.
  std::span<const std::int32_t> indices(InstanceId i) const {
    return {indices_.data() + index_begin_[i], index_begin_[i + 1] - index_begin_[i]};
  }
  std::span<const InstanceId> all_operands() const { return operands_; }
  /// Position of instance i's first operand in all_operands().
  std::uint32_t operand_begin(InstanceId i) const { return operand_begin_[i]; }

  /// Which random stream an instance draws from: a mask value of element k of a Children port (k =
  /// 0 where there is none) is number `element + k` of its call.
  struct Stream {
    std::uint64_t example = 0;
    std::uint32_t call = 0;  ///< position of the call within its example
    std::uint32_t element = 0;
  };
  Stream stream(InstanceId i) const { return stream_[i]; }
  /// Adds an instance that draws from a given stream, whatever example was begun.
  InstanceId add_copy(CellId cell, std::span<const InstanceId> operands,
                      std::span<const std::int32_t> indices, const Stream& stream) {
    const InstanceId id = add_part(cell, operands, indices);
    stream_.back() = stream;
    return id;
  }

  /// Instances below `done()` have run already (a value was asked for in the middle of recording);
  /// a strategy schedules those from `done()` on.
  InstanceId done() const { return done_; }
  void set_done(InstanceId done) { done_ = done; }

 private:
  std::vector<CellId> cell_;
  std::vector<Stream> stream_;
  std::vector<std::uint32_t> operand_begin_, index_begin_;
  std::vector<InstanceId> operands_;
  std::vector<std::int32_t> indices_;
  void go_on(std::uint64_t example);

  ExampleTable examples_;
  std::uint64_t example_ = 0;           // that goes on now,
  std::uint32_t position_ = 0;          // its position among the examples,
  std::uint32_t calls_in_example_ = 0;  // and its calls so far
  std::uint32_t calls_before_ = 0;      // the first example
  Stream stream_now_;
  InstanceId done_ = 0;
};

/// Throws InternalError unless cells exist, operands precede their users and have the state that
/// the port wants, and operand and index counts are those of the ports.
void verify(const InstanceGraph& graph, const Program& program);

}  // namespace espalier::ir
