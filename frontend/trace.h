// The cell being traced, to which the ops of a body are added. Made by Model::cell; reached only
// through the tensors, indices and params of the body, so there is no global "current graph". When
// the body returns the trace is closed; a later use of its tensors is an error.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <typeindex>
#include <vector>

#include "frontend/model.h"
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

}  // namespace espalier::detail
