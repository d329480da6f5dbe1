// What Engine::train_step asks of an optimizer: values in, gradients in, new values out.
// Implemented in training/optimizer.h (or by the user), called by the engine only. An update is
// element-wise, so its result depends neither on how the engine lays a param out nor on how it
// splits the work.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/program.h"

namespace espalier {

class UpdateExpression;

/// A param as the engine stores it. Layouts may pad: padding has value 0 and gradient 0, and every
/// update must leave it 0.
struct StoredParam {
  std::string name;
  ir::Shape shape;
  std::size_t size = 0;  ///< stored floats, ≥ shape.size(), the same in every step
  /// Whether a gradient reaches it from any cell. If not, it is never updated: neither L2 nor
  /// momentum changes it, and it needs no state.
  bool reached = true;
  /// Whether every gradient that reaches it is one of rows that cells chose by an index.
  bool by_rows = false;
};

/// What is known of a step's gradients before the first update.
struct GradientInfo {
  double norm = 0;   ///< Euclidean norm over all params, after scaling
  double scale = 1;  ///< what is handed to the updates is to be multiplied by this
};

/// How a learning rate schedule changes an optimizer's rates.
class LearningRate {
 public:
  virtual ~LearningRate() = default;
  /// The rates of the next step are `factor` times those that the optimizer was made with.
  virtual void set_rate_factor(double factor) = 0;
  /// The rate that most params have in the next step, for the user to see.
  virtual double rate() const = 0;
};

/// Floats that an optimizer keeps for a param, one per stored float.
struct OptimizerBuffer {
  std::string_view name;  ///< "adam.mean"
  ir::ParamId param = -1;
  std::span<float> values;  ///< in the engine's layout of the param
};

/// What must be saved and restored to continue a run later.
class OptimizerState {
 public:
  virtual ~OptimizerState() = default;
  virtual std::int64_t steps() const = 0;
  virtual void set_steps(std::int64_t steps) = 0;
  /// The state of all params that are updated so far. UserError before the first prepare.
  virtual std::vector<OptimizerBuffer> buffers() = 0;
  /// Makes room for the state of a param that no gradient has reached so far: a saved run has it.
  /// Does nothing for a param that is never updated. Only after prepare.
  virtual void keep_state_of(ir::ParamId param) = 0;
};

/// A step is: prepare, begin_step, then every stored float of every param that a gradient reaches
/// and that `updates` in exactly one update or update_rows. Those may run on several threads at
/// once, on disjoint ranges. Each may throw, which ends the step: the exception reaches the caller
/// of Engine::train_step, and the engine goes on with the params as they are. Nothing has changed
/// after prepare and begin_step; after an update, some floats are new and some are not.
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  /// Called before every step. The first call makes room for `params[ParamId]`; later calls, with
  /// params of the same names and sizes, do nothing and allocate nothing. UserError otherwise.
  virtual void prepare(std::span<const StoredParam> params) = 0;

  virtual void begin_step(const GradientInfo& gradients) = 0;

  /// Updates stored floats [first, first + values.size()) of `param`; `gradient` has their size.
  virtual void update(ir::ParamId param, std::size_t first, std::span<float> values,
                      std::span<const float> gradient) = 0;

  /// Whether updates change the param at all. If not (a rate of 0), the engine leaves them out.
  virtual bool updates(ir::ParamId) const { return true; }

  /// Whether update_rows changes rows that have no gradient too (momentum, Adam, L2). If not, the
  /// engine may leave out ranges of rows that have none.
  virtual bool updates_every_row(ir::ParamId param) const = 0;

  /// Updates rows [first_row, first_row + values.size() / width) of a param stored as rows of
  /// `width` floats. `rows` are those with a gradient, ascending, each within that range;
  /// `gradients` is [rows.size(), width]. The gradient of the other rows is 0.
  virtual void update_rows(ir::ParamId param, std::size_t first_row, std::size_t width,
                           std::span<float> values, std::span<const std::int32_t> rows,
                           std::span<const float> gradients) = 0;

  /// The same update as an expression (runtime/step/update_expression.h), which engines compile
  /// for devices. Null: in every step, such engines copy values and gradients to the host and the
  /// new values back.
  virtual UpdateExpression* expression() { return nullptr; }

  /// Null: the optimizer knows no learning rate schedule.
  virtual LearningRate* learning_rate() { return nullptr; }
  /// Null: its runs cannot be saved and continued.
  virtual OptimizerState* state() { return nullptr; }
};

}  // namespace espalier
