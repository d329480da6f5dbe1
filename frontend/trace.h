// The cell being traced, to which the ops of a body are added. Made by Model::cell; reached only
// through the tensors, indices and params of the body, so there is no global "current graph". When
// the body returns the trace is closed; a later use of its tensors is an error.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <typeindex>
#include <vector>

#include "frontend/tensor.h"
#include "ir/graph.h"
#include "ir/program.h"

namespace espalier::detail {

struct Trace {
  ir::GraphBuilder builder;
  std::string cell;
  bool open = true;
};

/// An op on constants whose result differs from call to call, because of dropout. It belongs to no
/// cell yet.
struct Drawn {
  const ir::Op& op;
  ir::Attributes attributes;
  std::vector<Tensor> operands;
  // The cell that used it last, and its node there, so that a second use draws no second mask.
  mutable std::weak_ptr<Trace> trace;
  mutable ir::NodeId node = -1;
};

/// The data that a model shares with its params.
struct ModelData {
  ir::Program program;
  std::map<std::type_index, ir::StateId> states;
  std::shared_ptr<Trace> trace;  ///< of the cell being traced, if any
};

/// UserError unless `name` consists of letters, digits and `_ - .`. `what` is e.g. "param".
void check_name(std::string_view what, std::string_view name);

/// Traces one cell: opens the trace, makes the values of the ports in order, and adds the cell. The
/// program stays unchanged if `finish` is not reached.
class CellTracer {
 public:
  /// UserError if the name is invalid or taken, or if another cell is being traced.
  CellTracer(ModelData& model, std::string name);
  ~CellTracer();
  CellTracer(const CellTracer&) = delete;
  CellTracer& operator=(const CellTracer&) = delete;

  Index index_port();
  /// The fields of a Child or Children port of that state.
  std::vector<Tensor> state_port(ir::PortKind kind, ir::StateId state);
  /// Adds the cell; UserError unless `outputs` are the fields of the state.
  ir::CellId finish(ir::StateId state, std::span<const Tensor> outputs);

  /// The state of a struct; UserError if it is not declared.
  ir::StateId state_of(std::type_index type, std::string_view type_name) const;
  /// The state of a single tensor.
  ir::StateId state_of(const Shape& shape);
  /// The shape of a returned tensor; UserError if it is empty.
  Shape output_shape(const Tensor& output) const;

 private:
  std::string describe(const ir::Node& node) const;

  ModelData& model_;
  std::size_t states_before_;
  std::shared_ptr<Trace> trace_;
  ir::Cell cell_;
  bool finished_ = false;
};

}  // namespace espalier::detail
