// What a program holds while it records a minibatch: Instances, from `engine.instances()`, and
// handles on the calls made so far. The recorder (ir/record/recorder.h) stays behind both.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "ir/program.h"

namespace espalier::ir {

class Recorder;

/// The position of a call in its minibatch.
using CallId = std::uint32_t;

/// A call becomes one instance, or one instance per op of the cell's body.
enum class Granularity : std::uint8_t { cell, op };

/// A call as its user holds it (frontend's Call<S> adds the state's type): valid until the next
/// minibatch begins.
struct CallHandle {
  Recorder* recorder = nullptr;
  CallId id = 0;
  std::uint32_t generation = 0;  ///< of the recorder when it was made
};

/// An operand of arithmetic outside cells.
struct OpOperand {
  enum class Kind : std::uint8_t {
    call,    ///< a call's only tensor; `id` is its state
    param,   ///< `id` is the param, of `shape`
    index,   ///< a row number or label
    number,  ///< one number at every coordinate of `shape`: a call of Recorder::number
  };
  Kind kind = Kind::call;
  std::int32_t id = -1;
  Shape shape;

  bool operator==(const OpOperand&) const = default;
};

/// Lists of operands and indices that a frontend fills for a call; reused, so that recording
/// allocates nothing.
struct CallLists {
  std::vector<CallId> operands;
  std::vector<std::int32_t> indices;
  std::vector<OpOperand> op_operands;
};

}  // namespace espalier::ir

namespace espalier {

/// The user's handle on a minibatch being recorded; two words, copied freely. Valid until the next
/// minibatch begins; all but `of` throw a UserError after that.
class Instances {
 public:
  explicit Instances(ir::Recorder& recorder);

  /// Calls `cell` (frontend's Cell<R(Args...)>) and gives a Call<R>. An argument of the wrong kind
  /// does not compile; UserError as in Recorder::call.
  template <class Cell, class... Args>
  auto operator()(const Cell& cell, const Args&... args) const
      -> decltype(cell.call(std::declval<const Instances&>(), args...)) {
    return cell.call(*this, args...);
  }

  /// Adds a call's scalar to the objective. UserError for anything but one scalar.
  void loss(const ir::CallHandle& call) const;
  /// Calls from here on belong to the example with this id; an example that was begun before goes
  /// on. It counts once among the examples; its dropout is keyed by the id.
  void begin_example(std::uint64_t id) const;
  /// Calls recorded so far.
  std::size_t size() const;

  ir::Recorder& recorder() const;
  /// Whether `recorder` gave this, in this minibatch or an earlier one.
  bool of(const ir::Recorder& recorder) const { return recorder_ == &recorder; }

  // For frontends.

  /// The call that `handle` names. UserError if it belongs to another engine or minibatch.
  ir::CallId resolve(const ir::CallHandle& handle) const {
    if (handle.recorder != recorder_ || handle.generation != generation_) [[unlikely]]
      refuse(handle);
    return handle.id;
  }
  /// Records a call, as Recorder::expect and Recorder::call do.
  ir::CallHandle record(ir::CellId cell, std::uint32_t mark, std::span<const ir::CallId> operands,
                        std::span<const std::int32_t> indices) const;
  ir::CallLists& lists() const;

 private:
  [[noreturn]] void refuse(const ir::CallHandle& handle) const;

  ir::Recorder* recorder_;
  std::uint32_t generation_;
};

}  // namespace espalier
