// The records of all ops, by tests that walk the table and never name an op: a new record is tested
// as it stands.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "ir/op.h"
#include "ir/passes/gradient.h"
#include "ir/passes/simplify.h"
#include "ir/verify.h"
#include "tests/support/op_cells.h"

namespace espalier::ir {
namespace {

using namespace espalier::test;

class EachOp : public testing::TestWithParam<const Op*> {
 protected:
  const Op& op_ = *GetParam();
};

std::vector<const Op*> table() {
  std::vector<const Op*> result;
  for (const Op& op : ops())
    if (op.kind != OpClass::leaf) result.push_back(&op);
  return result;
}

TEST(OpTable, EachNameInCodeHasOneRecord) {
  for (int id = int(OpId::other) + 1; id < int(OpId::count); ++id) {
    EXPECT_EQ(std::ranges::count(ops(), OpId(id), &Op::id), 1) << id;
    EXPECT_EQ(&op(OpId(id)), &op(op(OpId(id)).name));
  }
  EXPECT_THROW(op(OpId::other), InternalError);
}

TEST(Leaves, AreDocumented) {
  std::set<std::string_view> names;
  for (const Op& op : ops()) {
    EXPECT_TRUE(names.insert(op.name).second) << op.name;
    EXPECT_FALSE(op.summary.empty()) << op.name;
    EXPECT_EQ(op.operands.empty(), op.kind == OpClass::leaf) << op.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Table, EachOp, testing::ValuesIn(table()),
                         [](const auto& info) { return std::string(info.param->name); });

TEST_P(EachOp, IsDocumented) {
  EXPECT_FALSE(op_.summary.empty());
  EXPECT_EQ(&op(op_.name), &op_);
  EXPECT_FALSE(op_.operands.empty());
  EXPECT_FALSE(op_.examples.empty());
  EXPECT_EQ(op_.domain.size(), op_.operands.size());
  EXPECT_GE(op_.ulp, 0);
  std::set<std::string_view> names(op_.operands.begin(), op_.operands.end());
  EXPECT_EQ(names.size(), op_.operands.size());
  for (const Interval& interval : op_.domain) EXPECT_LT(interval.low, interval.high);
  for (const Op::Example& example : op_.examples) {
    EXPECT_TRUE(op_.variadic || example.operands.size() == op_.operands.size());
  }
}

TEST_P(EachOp, HasWhatItsClassNeeds) {
  EXPECT_NE(op_.type, nullptr);
  EXPECT_EQ(op_.evaluate != nullptr, op_.kind == OpClass::elementwise);
  EXPECT_EQ(op_.scalar != nullptr, op_.kind == OpClass::elementwise);
  EXPECT_EQ(op_.source != nullptr, op_.kind == OpClass::movement && !op_.assembles);
  EXPECT_EQ(op_.expand != nullptr, op_.kind == OpClass::composite);
  if (op_.kind != OpClass::elementwise) {
    EXPECT_EQ(op_.gradient != nullptr, op_.kind != OpClass::composite);
  }
}

TEST_P(EachOp, GivesCellsThatHold) {
  for (const OpCase& of : op_cases(op_)) {
    SCOPED_TRACE(of.name());
    EXPECT_NO_THROW(verify(op_program(of)));
  }
}

/// Computes what a body emits, at once.
class Interpreter final : public ScalarSink {
 public:
  Scalar value(double x) {
    values_.push_back(x);
    return {this, static_cast<int>(values_.size()) - 1};
  }
  double operator[](Scalar x) const { return values_[x.id]; }

  int emit(Opcode op, std::span<const int> operands, double constant) override {
    const auto x = [&](int i) { return values_[operands[i]]; };
    return value(compute(op, x, constant)).id;
  }

 private:
  template <class X>
  static double compute(Opcode op, const X& x, double constant) {
    switch (op) {
        // clang-format off
      case Opcode::constant: return constant;
      case Opcode::add: return x(0) + x(1);
      case Opcode::sub: return x(0) - x(1);
      case Opcode::mul: return x(0) * x(1);
      case Opcode::div: return x(0) / x(1);
      case Opcode::neg: return -x(0);
      case Opcode::abs: return std::fabs(x(0));
      case Opcode::max: return x(0) < x(1) ? x(1) : x(0);
      case Opcode::min: return x(1) < x(0) ? x(1) : x(0);
      case Opcode::exp: return std::exp(x(0));
      case Opcode::log: return std::log(x(0));
      case Opcode::sqrt: return std::sqrt(x(0));
      case Opcode::tanh: return std::tanh(x(0));
      case Opcode::less: return x(0) < x(1);
      case Opcode::equal: return x(0) == x(1);
      case Opcode::select: return x(0) != 0 ? x(1) : x(2);
        // clang-format on
    }
    return NAN;
  }

  std::vector<double> values_;
};

TEST_P(EachOp, PrintsTheBodyThatItEvaluates) {
  if (op_.kind != OpClass::elementwise) return;
  Random random(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<double> x;
    std::vector<Scalar> printed;
    Interpreter interpreter;
    for (const Interval& domain : op_.domain) {
      x.push_back(round ? random.real(domain.low, domain.high) : std::max(domain.low, 0.0));
      printed.push_back(interpreter.value(x.back()));
    }
    const double value = op_.evaluate(x.data());
    EXPECT_TRUE(std::isfinite(value)) << x[0];
    EXPECT_EQ(interpreter[op_.scalar(printed.data())], value) << x[0];
  }
}

TEST_P(EachOp, ElementwiseValueInACellIsItsBody) {
  if (op_.kind != OpClass::elementwise) return;
  Random random(2);
  const OpCase of = op_cases(op_)[0];
  const Program program = op_program(of);
  const CellInputs inputs = op_inputs(of, program, random, 0, 30);
  const auto result = outputs(program.cells[0], inputs)[0];
  for (std::size_t i = 0; i < result.size(); ++i) {
    std::vector<double> x;
    for (std::size_t k = 0; k < of.operands.size(); ++k)
      x.push_back(inputs.ports.at({int(k) + 1, 0})[i]);
    EXPECT_EQ(result[i], op_.evaluate(x.data()));
  }
}

TEST_P(EachOp, ValuesAreFiniteOverItsDomain) {
  Random random(3);
  for (const OpCase& of : op_cases(op_)) {
    SCOPED_TRACE(of.name());
    const Program program = op_program(of);
    for (int children : {0, 1, 4}) {
      const CellInputs inputs = op_inputs(of, program, random, children, 1e6);
      const auto result = outputs(program.cells[0], inputs)[0];
      for (double value : result) EXPECT_TRUE(std::isfinite(value)) << value;
    }
  }
}

TEST_P(EachOp, GradientsAreCentralDifferences) {
  if (op_.kind == OpClass::elementwise && !op_.gradient) return;
  Random random(4);
  for (const OpCase& of : op_cases(op_)) {
    SCOPED_TRACE(of.name());
    const Program program = op_program(of);
    for (int children : {0, 3})
      check_gradients(program, program.cells[0], op_inputs(of, program, random, children), random);
    if (HasFailure()) return;
  }
}

TEST_P(EachOp, NothingFlowsThroughItWithoutAGradient) {
  if (op_.kind != OpClass::elementwise || op_.gradient) return;
  for (const OpCase& of : op_cases(op_)) {
    if (std::ranges::count(of.sources, OpCase::Source::kids)) continue;  // has weights of its own
    SCOPED_TRACE(of.name());
    const Program program = op_program(of);
    const BackwardCell backward = differentiate(program, simplify(program.cells[0])).backward;
    EXPECT_TRUE(backward.contributions.empty());
    for (const ChildGradient& gradient : backward.child_gradients) {
      const Node& node = backward.graph[gradient.output];
      EXPECT_EQ(node.op->name, "constant");
      EXPECT_EQ(node.attributes.number, 0);
    }
  }
}

// Refusals: whatever is handed to an op, it gives a cell that holds or a UserError that starts with
// its name and ends with the place.

class Refusals {
 public:
  explicit Refusals(const Op& op) : op_(op) {}

  void attempt(const std::vector<Type>& operands, const Attributes& attributes) {
    GraphBuilder builder(GraphBuilder::Mode::record, "in cell 'c'");
    std::vector<Value> values;
    for (std::size_t i = 0; i < operands.size(); ++i)
      values.push_back(builder.leaf(operands[i].dtype == DType::i32 ? OpId::port : OpId::cotangent,
                                    operands[i], {.ints = {int(i), 0}}));
    std::string text;
    for (const Type& type : operands) text += to_string(type) + " ";
    try {
      const Value result = builder.apply(op_, values, attributes);
      EXPECT_EQ(result.builder, &builder);
    } catch (const UserError& error) {
      ++count;
      const std::string_view what = error.what();
      EXPECT_TRUE(what.starts_with(std::string(op_.name) + ": ")) << what << " for " << text;
      EXPECT_TRUE(what.ends_with(" (in cell 'c')")) << what << " for " << text;
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what() << " for " << text;
    }
  }

  int count = 0;

 private:
  const Op& op_;
};

TEST_P(EachOp, RefusesOperandsThatDoNotFit) {
  const std::vector<Type> others = {{DType::f32, {}, per_instance},
                                    {DType::f32, {1}, per_instance},
                                    {DType::f32, {7}, per_instance},
                                    {DType::f32, {6}, 0},
                                    {DType::f32, {6}, 1},
                                    {DType::f32, {5, 7}, per_instance},
                                    {DType::f32, {2, 3, 4}, per_instance},
                                    {DType::f32, {2, 2, 2, 2}, per_instance},
                                    {DType::i32, {}, per_instance},
                                    {DType::i32, {6}, per_instance},
                                    {DType::i32, {}, 0}};
  Refusals refusals(op_);
  for (const Op::Example& example : op_.examples) {
    for (std::size_t i = 0; i < example.operands.size(); ++i)
      for (const Type& other : others) {
        auto operands = example.operands;
        operands[i] = other;
        refusals.attempt(operands, example.attributes);
      }
    EXPECT_GT(refusals.count, 0);
    const int before = refusals.count;
    refusals.attempt({}, example.attributes);
    if (!op_.variadic) {
      auto more = example.operands;
      more.push_back(more[0]);
      refusals.attempt(more, example.attributes);
      EXPECT_EQ(refusals.count, before + 2);
    } else {
      EXPECT_EQ(refusals.count, before + 1);
    }
  }
}

TEST_P(EachOp, RefusesAttributesThatDoNotFit) {
  const Op::Example& example = op_.examples.back();
  Refusals refusals(op_);
  int named = 0;
  for (int i = 0; i < 2; ++i) {
    if (op_.attributes.ints[i].empty()) continue;
    ++named;
    for (int value : {-1, INT32_MIN, INT32_MAX}) {
      Attributes attributes = example.attributes;
      attributes.ints[i] = value;
      refusals.attempt(example.operands, attributes);
    }
  }
  EXPECT_EQ(refusals.count, 3 * named);
  if (!op_.attributes.number.empty())
    for (double value : {-0.1, 1.0, double(INFINITY), double(NAN)}) {
      Attributes attributes = example.attributes;
      attributes.number = value;
      const int before = refusals.count;
      refusals.attempt(example.operands, attributes);
      EXPECT_EQ(refusals.count, before + 1) << value;
    }
  if (op_.attributes.shape) {
    const int before = refusals.count;
    Attributes attributes = example.attributes;
    attributes.shape = {3, 5, 7};
    refusals.attempt(example.operands, attributes);
    EXPECT_EQ(refusals.count, before + 1);
  }
}

}  // namespace
}  // namespace espalier::ir
