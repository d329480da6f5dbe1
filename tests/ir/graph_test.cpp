// What GraphBuilder does with what it is given: one node for equal ones, shape rules, broadcasts,
// the words of its refusals.
#include "ir/graph.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/error.h"
#include "ir/op.h"
#include "tests/support/refusal.h"

namespace espalier::ir {
namespace {

using test::refusal;

class Building : public testing::Test {
 protected:
  Value port(Shape shape, int port = 0, std::int8_t children = per_instance) {
    return b_.leaf(OpId::port, {DType::f32, shape, children}, {.ints = {port, 0}});
  }
  Value param(Shape shape, int id = 0) {
    return b_.leaf(OpId::param, {DType::f32, shape, per_instance}, {.ints = {id, 0}});
  }
  Value index(int port = 9) {
    return b_.leaf(OpId::port, {DType::i32, {}, per_instance}, {.ints = {port, 0}});
  }
  std::string refused(std::string_view name, std::initializer_list<Value> operands,
                      Attributes attributes = {}) {
    return refusal([&] { b_.apply(espalier::ir::op(name), std::vector(operands), attributes); });
  }
  static Attributes axis(int axis) { return {.ints = {axis, 0}}; }

  GraphBuilder b_{GraphBuilder::Mode::record, "in cell 'node'"};
};

using GraphErrors = Building;

TEST_F(Building, GivesEqualExpressionsOneNode) {
  const Value x = port({4}), y = port({4}, 1);
  EXPECT_EQ((x * y).id, (x * y).id);
  EXPECT_NE((x * y).id, (y * x).id);
  EXPECT_EQ(port({4}).id, x.id);
  EXPECT_NE(b_.apply(OpId::sum, {x}, axis(0)).id, b_.apply(OpId::max_over, {x}, axis(0)).id);
  const Value m = port({4, 4}, 2);
  EXPECT_NE(b_.apply(OpId::sum, {m}, axis(0)).id, b_.apply(OpId::sum, {m}, axis(1)).id);
  EXPECT_NE(b_.apply(OpId::reshape, {m}, {.shape = {16}}).id,
            b_.apply(OpId::reshape, {m}, {.shape = {2, 8}}).id);
}

TEST_F(Building, KeepsOnlyAttributesThatAnOpReads) {
  const Value m = port({4, 6});
  const Value t = b_.apply(OpId::transpose, {m}, {.ints = {3, 4}, .number = 5, .shape = {7}});
  EXPECT_EQ(t.id, b_.apply(OpId::transpose, {m}).id);
  const Value sum = b_.apply(OpId::sum, {m}, {.ints = {1, 8}, .shape = {4, 6}});
  EXPECT_EQ(sum.id, b_.apply(OpId::sum, {m}, axis(1)).id);
  const Value joined = b_.apply(OpId::concat, {m, m}, {.ints = {1, 0}, .shape = {9}});
  EXPECT_EQ(joined.node().attributes.shape, (Shape{4, 12}));
}

TEST_F(Building, TellsConstantsApartBitByBit) {
  EXPECT_EQ(b_.constant(0.1).id, b_.constant(0.1).id);
  EXPECT_NE(b_.constant(0.1).id, b_.constant(0.1, {1}).id);
  EXPECT_NE(b_.constant(0.0).id, b_.constant(-0.0).id);
  EXPECT_EQ(b_.constant(NAN).id, b_.constant(NAN).id);
}

TEST_F(Building, BroadcastsElementwiseOperands) {
  const Value m = port({3, 4}), row = port({4}, 1), column = port({3, 1}, 2), one = port({}, 3);
  EXPECT_EQ((m + row).shape(), (Shape{3, 4}));
  EXPECT_EQ((row + column).shape(), (Shape{3, 4}));
  EXPECT_EQ((one + row).shape(), (Shape{4}));
  EXPECT_EQ(b_.node((m + row).node().operands[1]).op->name, "broadcast");
  EXPECT_EQ((m + m).node().operands[0], m.id);
}

TEST_F(Building, SpreadsOperandsOverChildren) {
  const Value x = port({4}), h = port({4}, 1, 1);
  const Value sum = x + h;
  EXPECT_EQ(sum.type().children, 1);
  EXPECT_EQ(b_.node(sum.node().operands[0]).op->name, "per_child");
  // What is shared by all instances meets children in a contraction as it is.
  const Value product = b_.apply(OpId::matmul, {b_.apply(OpId::transpose, {param({4, 3})}), h});
  EXPECT_EQ(product.type().children, 1);
  EXPECT_EQ(b_.node(product.node().operands[0]).op->name, "transpose");
  const Value computed = b_.apply(OpId::matmul, {port({3, 4}, 2), h});
  EXPECT_EQ(b_.node(computed.node().operands[0]).op->name, "per_child");
}

TEST_F(Building, ExpandsComposites) {
  const Value y = b_.apply(op("softmax"), std::array{port({4})});
  for (NodeId id = 0; id < b_.size(); ++id) EXPECT_NE(b_.node(id).op->kind, OpClass::composite);
  EXPECT_EQ(y.shape(), Shape{4});
}

TEST_F(Building, GivesEachDropoutAMaskOfItsOwn) {
  const Value x = port({4});
  const Value once = b_.apply(OpId::dropout, {x}, {.number = 0.5});
  const Value twice = b_.apply(OpId::dropout, {x}, {.number = 0.5});
  EXPECT_NE(once.id, twice.id);
  EXPECT_EQ(b_.apply(OpId::dropout, {x}, {.number = 0}).id, x.id);
}

TEST_F(Building, FinishKeepsWhatOutputsNeedInOrder) {
  const Value x = port({4}), dead = exp(x), y = tanh(x), z = y * x;
  std::vector<NodeId> outputs = {z.id, y.id, z.id};
  const Graph graph = b_.finish(outputs);
  EXPECT_EQ(dead.id, 1);
  ASSERT_EQ(graph.size(), 3);
  EXPECT_EQ(graph[1].op->name, "tanh");
  EXPECT_EQ(outputs, (std::vector<NodeId>{2, 1, 2}));
  EXPECT_EQ(graph[2].operands, (std::vector<NodeId>{1, 0}));
}

TEST_F(GraphErrors, NameOperandsAndPlace) {
  b_.describe = [](const Node& node) -> std::string {
    return node.op->id == OpId::param ? "param 'w'" : "";
  };
  EXPECT_EQ(refused("matmul", {param({10, 300}), port({150})}),
            "matmul: inner dimensions differ: param 'w' is [10, 300], operand is [150] "
            "(in cell 'node')");
}

TEST_F(GraphErrors, TellOperandsWithoutNamesApart) {
  EXPECT_EQ(refused("matmul", {port({10, 300}), port({150}, 1)}),
            "matmul: inner dimensions differ: operand 'a' is [10, 300], operand 'b' is [150] "
            "(in cell 'node')");
  EXPECT_EQ(refused("concat", {port({2, 3}), port({2}, 1)}, axis(0)),
            "concat: shapes differ beside the joined axis: operand 1 is [2, 3], operand 2 is [2] "
            "(in cell 'node')");
  EXPECT_EQ(refused("transpose", {port({4})}),
            "transpose: expected a matrix: operand is [4] (in cell 'node')");
  EXPECT_EQ(refused("add", {port({4}), port({5}, 1)}),
            "add: shapes differ: operand 'a' is [4], operand 'b' is [5] (in cell 'node')");
}

TEST_F(GraphErrors, HaveNoPlaceWithoutContext) {
  GraphBuilder bare;
  const Value x = bare.constant(1, {4});
  EXPECT_EQ(refusal([&] { bare.apply(OpId::transpose, {x}); }),
            "transpose: expected a matrix: operand is [4]");
}

TEST_F(GraphErrors, SayWhatWasExpected) {
  EXPECT_EQ(refused("slice", {port({4})}, {.ints = {0, 2}, .shape = {3}}),
            "slice: elements 2 to 4 of axis 0 do not exist: operand is [4] (in cell 'node')");
  EXPECT_EQ(refused("slice", {port({4})}, {.ints = {1, 0}, .shape = {3}}),
            "slice: axis 1 does not exist: operand is [4] (in cell 'node')");
  EXPECT_EQ(refused("slice", {port({4})}, {.shape = {2, 2}}),
            "slice: cannot be cut to [2, 2]: operand is [4] (in cell 'node')");
  EXPECT_EQ(refused("reshape", {port({4})}, {.shape = {3}}),
            "reshape: 4 elements cannot be shaped as [3]: operand is [4] (in cell 'node')");
  EXPECT_EQ(refused("broadcast", {port({4})}, {.shape = {3}}),
            "broadcast: cannot be repeated to [3]: operand is [4] (in cell 'node')");
  EXPECT_EQ(refused("row", {port({4}), port({}, 1)}),
            "row: expected an index: operand 'index' is [] (in cell 'node')");
  EXPECT_EQ(refused("exp", {index()}),
            "exp: expected a number, found an index: operand is [] (in cell 'node')");
  const Value indices = b_.leaf(OpId::iota, {DType::i32, {6}, per_instance}, {});
  EXPECT_EQ(refused("matmul", {port({4, 6}), indices}),
            "matmul: expected a number, found an index: operand 'b' is [6] (in cell 'node')");
  EXPECT_EQ(refused("outer", {port({4}), index()}),
            "outer: expected a number, found an index: operand 'b' is [] (in cell 'node')");
  EXPECT_EQ(refused("sum_children", {port({4})}),
            "sum_children: expected a value per child: operand is [4] (in cell 'node')");
  EXPECT_EQ(refused("add", {port({4})}), "add: expected 2 operands, found 1 (in cell 'node')");
  EXPECT_EQ(refused("dropout", {port({4})}, {.number = 1}),
            "dropout: the rate must lie in [0, 1), found 1 (in cell 'node')");
  EXPECT_EQ(refused("layer_norm", {port({4}), port({3}, 1), port({4}, 2)}),
            "layer_norm: gain and bias must be [4]: operand 'gain' is [3], operand 'bias' is [4] "
            "(in cell 'node')");
}

TEST_F(GraphErrors, ChildrenOfDifferentPortsDoNotMeet) {
  EXPECT_EQ(refused("where", {port({}), port({4}, 1, 1), port({4}, 2, 2)}),
            "where: operands belong to the children of different ports: operand 'a' is [4], "
            "operand 'b' is [4] (in cell 'node')");
}

TEST_F(GraphErrors, UnknownOpsNameTheNearest) {
  EXPECT_EQ(refusal([] { op("sigmod"); }), "no op is called 'sigmod'; the nearest is 'sigmoid'");
}

TEST_F(GraphErrors, ValuesOfAnotherGraphAreABug) {
  GraphBuilder other;
  const Value x = other.constant(1);
  EXPECT_EQ(refusal<InternalError>([&] { b_.apply(OpId::exp, {x}); }),
            "internal error: exp: operand of another graph");
}

}  // namespace
}  // namespace espalier::ir
