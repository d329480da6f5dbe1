// Names for the ops that code refers to: passes, lowering, gradients. An op that only its record
// knows has none (`other`), so a new op needs no line here. The record (ir/ops_*.cpp) says which
// name is its own; tests/ir/ops_test.cpp checks that each name has exactly one record.
#pragma once

#include <cstdint>

namespace espalier::ir {

enum class OpId : std::uint8_t {
  other,
  // leaves
  port,
  param,
  constant,
  iota,
  dropout_mask,
  input,
  output,
  cotangent,
  residual,
  // element-wise
  add,
  sub,
  mul,
  div,
  neg,
  abs,
  exp,
  log,
  sqrt,
  tanh,
  sigmoid,
  softplus,
  max,
  less,
  equal,
  where,
  stop_gradient,
  // reductions
  sum,
  max_over,
  sum_children,
  max_children,
  // movements
  slice,
  concat,
  reshape,
  broadcast,
  transpose,
  per_child,
  row,
  // contractions
  matmul,
  outer,
  // composites
  dropout,
  one_hot,
  count,  ///< of the names above
};

}  // namespace espalier::ir
