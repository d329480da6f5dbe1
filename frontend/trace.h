// The cell being traced: where the ops of a body go. Made by Model::cell, reached only through the
// tensors, indices and params of that body, so that there is no "current graph" anywhere. Once the
// body has returned the trace is closed, and a tensor kept from it is refused.
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

/// An op on constants that differs from call to call, because dropout draws: still free of any
/// cell.
struct Drawn {
  const ir::Op& op;
  ir::Attributes attributes;
  std::vector<Tensor> operands;
  // The cell that used it last, and what it is there: used twice, it is drawn once.
  mutable std::weak_ptr<Trace> trace;
  mutable ir::NodeId node = -1;
};

/// What a model shares with its params.
struct ModelData {
  ir::Program program;
  std::map<std::type_index, ir::StateId> states;
  std::shared_ptr<Trace> trace;  ///< of the cell being traced, if any
};

/// UserError unless `name` consists of letters, digits and `_ - .`; `what` is e.g. "param".
void check_name(std::string_view what, std::string_view name);

/// Traces one cell: opens the trace, makes the values of the ports in order, and adds the cell. If
/// `finish` is not reached, the program is left as it was.
class CellTracer {
 public:
  /// UserError if the name is empty, taken or not of letters, digits and `_ - .`, or if another
  /// cell is being traced.
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
