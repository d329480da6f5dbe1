// The values in a cell's body while it is traced: Tensor, Index, Param, and Children for values
// that exist once per child. Made by Model, used with the functions of frontend/ops.h. They hold no
// numbers, only a reference to a node of the graph being built.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "ir/graph.h"
#include "ir/program.h"
#include "ir/type.h"

namespace espalier {

using ir::Initializer;
using ir::Shape;

namespace detail {
struct Trace;
struct ModelData;
struct Drawn;
struct Inside;
}  // namespace detail

/// A trained tensor, from Model::param. A copyable handle that bodies capture by value. In a body
/// it converts to a Tensor; elsewhere it can be an operand of arithmetic with calls.
class Param {
 public:
  Param() = default;
  /// UserError for a default-constructed handle. The same holds for `shape`.
  const std::string& name() const;
  const Shape& shape() const;
  ir::ParamId id() const { return id_; }

 private:
  friend class Model;
  friend class Tensor;
  friend struct detail::Inside;
  const ir::Param& get() const;

  std::shared_ptr<const detail::ModelData> model_;
  ir::ParamId id_ = -1;
};

/// An integer argument of the cell being traced, such as a row number or a label.
class Index {
 public:
  Index() = default;

 private:
  friend struct detail::Inside;
  std::shared_ptr<detail::Trace> trace_;
  ir::NodeId node_ = -1;
};

/// A value of the cell being traced. Or a *free* tensor, which belongs to no cell yet: a constant,
/// or a value computed from dropout of constants.
class Tensor {
 public:
  /// An empty tensor, to be assigned before it is used.
  Tensor() = default;
  /// UserError unless a cell of the param's model is being traced.
  Tensor(const Param& param);  // NOLINT: inside a body a param is a tensor

  /// The shape for one example (per child, for values of a Children port). UserError if empty.
  const Shape& shape() const;

 private:
  friend struct detail::Inside;
  std::shared_ptr<detail::Trace> trace_;        // null: empty, or free
  std::shared_ptr<const detail::Drawn> drawn_;  // free, from dropout of constants
  ir::NodeId node_ = -1;
  bool constant_ = false;
  double number_ = 0;
  Shape shape_;
};

/// `value` at every coordinate.
Tensor constant(double value, const Shape& shape = {});

/// The values of a Children port in a body: the fields of S (or the Tensor), once per child.
template <class S>
struct Children : S {};

namespace detail {

/// Access to the private members of the handles, for the tracer and the ops.
struct Inside {
  static Tensor tensor(std::shared_ptr<Trace> trace, ir::NodeId node);
  static Tensor constant(double number, const Shape& shape);
  static Tensor drawn(std::shared_ptr<const Drawn> drawn, const Shape& shape);
  static Index index(std::shared_ptr<Trace> trace, ir::NodeId node);
  static const std::shared_ptr<Trace>& trace(const Tensor& tensor) { return tensor.trace_; }
  static ir::NodeId node(const Tensor& tensor) { return tensor.node_; }
  static bool is_constant(const Tensor& tensor) { return tensor.constant_; }
  static double number(const Tensor& tensor) { return tensor.number_; }
  /// The op that made a free tensor; null for a constant and for a tensor of a cell.
  static const Drawn* drawn(const Tensor& tensor) { return tensor.drawn_.get(); }
  /// Whether it was ever assigned.
  static bool is_assigned(const Tensor& tensor) {
    return tensor.trace_ || tensor.constant_ || tensor.drawn_;
  }
  /// An index as an operand.
  static Tensor as_tensor(const Index& index);
  /// The param's record; UserError for an empty handle.
  static const ir::Param& get(const Param& param) { return param.get(); }
};

/// The tensor as a value of `trace`. A free tensor is added to it.
ir::Value value_in(const std::shared_ptr<Trace>& trace, const Tensor& tensor);

/// Adds an op to the trace of its operands. If all operands are free, dropout gives a free tensor,
/// and so does any op on its result; the mask is drawn by the cell that uses it, once per call.
/// UserError if the op's shape rule fails, if operands belong to two cells or to a cell already
/// traced, or if all operands are constants.
Tensor trace_op(std::string_view op, const ir::Attributes& attributes,
                std::span<const Tensor> operands);

}  // namespace detail
}  // namespace espalier
