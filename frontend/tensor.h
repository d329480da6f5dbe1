// The values of a cell's body while it is traced: Tensor, Index, Param, and Children for what
// exists once per child. Made by Model, computed with through frontend/ops.h; they hold no numbers,
// only a place in the graph being built.
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

/// A trained tensor, from Model::param. A copyable handle that a body captures; inside a body it is
/// a Tensor, outside it may be an operand of arithmetic with calls.
class Param {
 public:
  Param() = default;
  /// UserError for a handle that no Model::param made; so for `shape`.
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

/// A row number or label: an Index port of the cell being traced.
class Index {
 public:
  Index() = default;

 private:
  friend struct detail::Inside;
  std::shared_ptr<detail::Trace> trace_;
  ir::NodeId node_ = -1;
};

/// A value of the cell being traced, or a constant (perhaps with dropout) that is still free of any
/// cell.
class Tensor {
 public:
  /// Empty: to be assigned before it is used.
  Tensor() = default;
  /// UserError unless a cell of the param's model is being traced.
  Tensor(const Param& param);  // NOLINT: inside a body a param is a tensor

  /// The shape for one example (and one child). UserError for an empty tensor.
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

/// What a Children port gives a body: the fields of S (or the Tensor), once per child.
template <class S>
struct Children : S {};

namespace detail {

/// The inside of the handles, for the tracer and the ops.
struct Inside {
  static Tensor tensor(std::shared_ptr<Trace> trace, ir::NodeId node);
  static Tensor constant(double number, const Shape& shape);
  static Tensor drawn(std::shared_ptr<const Drawn> drawn, const Shape& shape);
  static Index index(std::shared_ptr<Trace> trace, ir::NodeId node);
  static const std::shared_ptr<Trace>& trace(const Tensor& tensor) { return tensor.trace_; }
  static ir::NodeId node(const Tensor& tensor) { return tensor.node_; }
  static bool is_constant(const Tensor& tensor) { return tensor.constant_; }
  static double number(const Tensor& tensor) { return tensor.number_; }
  /// What a free tensor that is no constant is made of, else null.
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

/// The tensor as a value of that cell, or of another graph; one that is free becomes so.
ir::Value value_in(const std::shared_ptr<Trace>& trace, const Tensor& tensor);

/// Adds an op to the trace that its operands belong to. Without any, dropout of constants stays
/// free, and so does what is computed from it: a cell that uses it draws it, once a call. UserError
/// where the op's shape rule does not hold, for operands of two cells, for tensors kept from a cell
/// already traced, and for a number that is known: all operands are constants.
Tensor trace_op(std::string_view op, const ir::Attributes& attributes,
                std::span<const Tensor> operands);

}  // namespace detail
}  // namespace espalier
