// The record of an op. Everything about an op is in its one record (ir/ops_*.cpp): shape rule,
// meaning, gradient, domain, error bound. Consumers switch over OpClass, never over ops.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"
#include "ir/op_id.h"
#include "ir/scalar.h"

namespace espalier::ir {

enum class OpClass : std::uint8_t {
  leaf,         ///< an address: port, param, constant, …
  elementwise,  ///< the same scalar body at every coordinate
  reduction,    ///< combines the elements of an axis, or of a Children port
  movement,     ///< moves nothing: it says from where a coordinate is read
  contraction,  ///< products summed over meeting axes
  composite,    ///< written with other ops; expanded when it is added to a graph
};

enum class Combine : std::uint8_t { sum, max };

/// What a shape rule sees. `fail` throws a UserError that names the op and the place.
struct ShapeContext {
  const Op& op;
  std::span<const Type> operands;
  const Attributes& attributes;
  const GraphBuilder* builder = nullptr;
  std::span<const NodeId> nodes;

  const Shape& shape(int i) const { return operands[i].shape; }
  /// "param 'w' is [10, 300]"; without a name "operand is [150]", or "operand 'b' is [150]" where
  /// another operand has no name either.
  std::string describe(int i) const;
  /// Throws unless operand i is a number.
  void check_number(int i) const;
  [[noreturn]] void fail(const std::string& what) const;
  void check(bool condition, const std::string& what) const {
    if (!condition) fail(what);
  }
};

/// The shape that all operands broadcast to: axes aligned at the end, extents equal or 1.
/// UserError if there is none.
Shape broadcast_shape(const ShapeContext& operands);

struct GradientContext {
  std::span<const Value> operands;
  Value result;
  Value cotangent;
  const Attributes& attributes;
};

/// Integer coordinates of a movement: plain ints in the evaluator, addresses in the kernel IR.
class CoordinateSink {
 public:
  virtual ~CoordinateSink() = default;
  virtual int constant(std::int64_t value) = 0;
  virtual int add(int a, int b) = 0;
  virtual int multiply(int a, std::int64_t factor) = 0;
  virtual int divide(int a, std::int64_t divisor) = 0;
  virtual int modulo(int a, std::int64_t divisor) = 0;
};

struct MovementContext {
  CoordinateSink& sink;
  std::span<const int> coordinates;  ///< of the result
  const Shape& source;               ///< shape of operand 0
  const Shape& result;
  const Attributes& attributes;
  int index = -1;  ///< the value of operand 1, for ops that take an Index
};

struct Interval {
  double low = -2, high = 2;
};

/// What an op calls the attributes that it reads; "" for the others.
struct AttributeNames {
  std::array<std::string_view, 2> ints{};
  std::string_view number{};
  bool shape = false;  ///< reads `shape`, which is that of its result
};

/// What a record is called in texts and, if code refers to it, in code.
struct OpName {
  OpName(const char* text, OpId id = OpId::other) : text(text), id(id) {}
  std::string_view text;
  OpId id;
};

struct Op {
  std::string_view name;
  OpId id = OpId::other;  ///< for code that refers to the op
  OpClass kind = OpClass::leaf;
  std::string_view summary;                ///< one line for the reference: what it computes
  std::vector<std::string_view> operands;  ///< names, for error texts and the reference
  AttributeNames attributes{};             ///< names, for program texts and the reference
  bool variadic = false;                   ///< takes one or more of operands[0]
  /// Operands are broadcast against each other; so are those of element-wise ops.
  bool broadcasts = false;
  std::vector<Interval> domain;  ///< where tests draw operands from
  double ulp = 0;                ///< error bound of the compiled body on its domain

  Type (*type)(const ShapeContext&) = nullptr;

  // elementwise
  double (*evaluate)(const double*) = nullptr;
  Scalar (*scalar)(const Scalar*) = nullptr;
  // contraction: the last `meeting` axes of operand 0 are summed against the first of operand 1
  int meeting = 0;
  // reduction; attributes.ints[0] is the axis unless `over_children`
  Combine combine = Combine::sum;
  bool over_children = false;
  // movement; `assembles` marks concat, whose operands lie end to end along ints[0]
  std::vector<int> (*source)(const MovementContext&) = nullptr;
  bool assembles = false;
  bool takes_index = false;
  // composite
  Value (*expand)(GraphBuilder&, std::span<const Value>, const Attributes&) = nullptr;

  /// One value per operand; an empty Value where nothing flows. Null: not differentiable.
  std::vector<Value> (*gradient)(const GradientContext&) = nullptr;
  /// An example set of operand types and attributes for the generic tests and the reference.
  struct Example {
    std::vector<Type> operands;
    Attributes attributes;
  };
  std::vector<Example> examples;
};

/// The attributes of a node: what the op does not read is cleared; `shape` is that of the result
/// for ops that read it and for movements without an index.
Attributes canonical(const Op& op, const Attributes& attributes, const Type& result);

/// All ops, sorted by class and then as declared.
std::span<const Op> ops();
/// The op of that name; throws UserError with the nearest name if there is none.
const Op& op(std::string_view name);
const Op& op(OpId id);

// The parts of the table, one source per class.
std::vector<Op> leaf_ops();
std::vector<Op> elementwise_ops();
std::vector<Op> reduction_ops();
std::vector<Op> movement_ops();
std::vector<Op> contraction_ops();
std::vector<Op> composite_ops();

}  // namespace espalier::ir
