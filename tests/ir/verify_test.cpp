// A program broken in each way is refused, and the refusal names the place.
#include "ir/verify.h"

#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"
#include "ir/op.h"
#include "ir/passes/gradient.h"
#include "ir/passes/simplify.h"
#include "ir/text/parse.h"
#include "tests/support/refusal.h"

namespace espalier::ir {
namespace {

using test::refusal;

class Broken : public testing::Test {
 protected:
  Program program_ = parse(R"(program p
    param w [4, 4] glorot
    param e [9, 4] glorot
    state S f32[4]
    state Two f32[4] f32[4]
    cell c(i: index, x: child S, hs: children Two) -> Two {
      %0 = port i : i32[]
      %1 = param e : f32[9, 4]
      %2 = row(%1, %0) : f32[4]
      %3 = port x.0 : f32[4]
      %4 = port hs.1 : f32[4]*hs
      %5 = mul(%2, %3) : f32[4]
      %6 = param w : f32[4, 4]
      %7 = matmul(%6, %4) : f32[4]*hs
      %8 = sum_children(%7) : f32[4]
      %9 = sigmoid(%8) : f32[4]
      return %5, %9
    })");

  /// The refusal of the program while its cell has a `change`, which is undone.
  std::string with_nodes(const std::function<void(std::vector<Node>&)>& change) {
    return with_cell([&](Cell& cell) {
      std::vector<Node> nodes(cell.graph.nodes().begin(), cell.graph.nodes().end());
      change(nodes);
      cell.graph = Graph::unchecked(nodes);
    });
  }
  std::string with_node(int id, const std::function<void(Node&)>& change) {
    return with_nodes([&](std::vector<Node>& nodes) { change(nodes[id]); });
  }
  std::string with_cell(const std::function<void(Cell&)>& change) {
    const Cell whole = program_.cells[0];
    change(program_.cells[0]);
    const std::string text = refused();
    program_.cells[0] = whole;
    return text;
  }
  std::string refused() const {
    const std::string text = refusal<InternalError>([&] { verify(program_); });
    const std::string prefix = "internal error: ";
    return text.starts_with(prefix) ? text.substr(prefix.size()) : text;
  }
};

TEST_F(Broken, NotYet) { EXPECT_NO_THROW(verify(program_)); }

TEST_F(Broken, OperandsThatDoNotPrecede) {
  EXPECT_EQ(with_node(5, [](Node& n) { n.operands[1] = 5; }),
            "cell 'c', %5 (mul): operand %5 does not precede it");
  EXPECT_EQ(with_node(5, [](Node& n) { n.operands[1] = 7; }),
            "cell 'c', %5 (mul): operand %7 does not precede it");
  EXPECT_EQ(with_node(5, [](Node& n) { n.operands[1] = -1; }),
            "cell 'c', %5 (mul): operand %-1 does not precede it");
}

TEST_F(Broken, NoOp) {
  EXPECT_EQ(with_node(5, [](Node& n) { n.op = nullptr; }), "cell 'c', %5 (no op): has no op");
}

TEST_F(Broken, ACompositeOp) {
  EXPECT_EQ(with_node(9, [](Node& n) { n.op = &op("softmax"); }),
            "cell 'c', %9 (softmax): a composite op is expanded where it is added");
}

TEST_F(Broken, AnotherTypeThanTheRuleGives) {
  EXPECT_EQ(with_node(2, [](Node& n) { n.type.shape = {9}; }),
            "cell 'c', %2 (row): has type f32[9], expected f32[4]");
}

TEST_F(Broken, ARuleThatRefuses) {
  EXPECT_EQ(with_node(7, [](Node& n) { std::swap(n.operands[0], n.operands[1]); }),
            "cell 'c', %7 (matmul): matmul: expected [m, k] × [k], [m, k] × [k, n] or [k] × [k]: "
            "operand 'a' is [4], operand 'b' is [4, 4]");
  EXPECT_EQ(with_node(8, [](Node& n) { n.operands[0] = 5; }).substr(0, 40),
            "cell 'c', %8 (sum_children): sum_childre");
}

TEST_F(Broken, AWrongNumberOfOperands) {
  EXPECT_EQ(with_node(9, [](Node& n) { n.operands.clear(); }),
            "cell 'c', %9 (sigmoid): has 0 operands, expected 1");
  EXPECT_EQ(with_node(3, [](Node& n) { n.operands = {0}; }),
            "cell 'c', %3 (port): a leaf has no operands");
}

TEST_F(Broken, OperandsNotBroadcast) {
  EXPECT_EQ(with_node(5, [](Node& n) { n.operands[1] = 1; }),
            "cell 'c', %5 (mul): operand 1 has type f32[9, 4], the result f32[4]");
  EXPECT_EQ(with_node(5, [](Node& n) { n.operands[1] = 4; }),
            "cell 'c', %5 (mul): operand 1 has type f32[4]*2, the result f32[4]");
}

TEST_F(Broken, EqualNodes) {
  EXPECT_EQ(with_nodes([](auto& nodes) {
              nodes.push_back(nodes[9]);
              nodes.push_back({&op(OpId::add), nodes[9].type, {9, 10}, {}});
            }),
            "cell 'c', %10 (sigmoid): equals %9");
}

TEST_F(Broken, AttributesThatNobodyReads) {
  EXPECT_EQ(with_node(9, [](Node& n) { n.attributes.ints[0] = 1; }),
            "cell 'c', %9 (sigmoid): has attributes that its op does not read");
  EXPECT_EQ(with_node(9, [](Node& n) { n.attributes.shape = {4}; }),
            "cell 'c', %9 (sigmoid): has attributes that its op does not read");
}

TEST_F(Broken, DeadNodes) {
  EXPECT_EQ(
      with_nodes([](auto& nodes) { nodes.push_back({&op(OpId::tanh), nodes[9].type, {9}, {}}); }),
      "cell 'c', %10 (tanh): no output needs it");
}

TEST_F(Broken, Ports) {
  EXPECT_EQ(with_node(3, [](Node& n) { n.attributes.ints[0] = 3; }),
            "cell 'c', %3 (port): there is no port 3");
}

TEST_F(Broken, PortFields) {
  EXPECT_EQ(with_node(3, [](Node& n) { n.attributes.ints[1] = 1; }),
            "cell 'c', %3 (port): state 'S' has no field 1");
}

TEST_F(Broken, PortTypes) {
  EXPECT_EQ(with_node(4, [](Node& n) { n.type.children = 1; }),
            "cell 'c', %4 (port): has type f32[4]*1, expected f32[4]*2");
  EXPECT_EQ(with_node(4, [](Node& n) { n.type.children = per_instance; }),
            "cell 'c', %4 (port): has type f32[4], expected f32[4]*2");
}

TEST_F(Broken, IndexPortTypes) {
  EXPECT_EQ(with_node(0, [](Node& n) { n.type.dtype = DType::f32; }),
            "cell 'c', %0 (port): has type f32[], expected i32[]");
}

TEST_F(Broken, Params) {
  EXPECT_EQ(with_node(6, [](Node& n) { n.attributes.ints[0] = 2; }),
            "cell 'c', %6 (param): there is no param 2");
}

TEST_F(Broken, ParamTypes) {
  EXPECT_EQ(with_node(6, [](Node& n) { n.attributes.ints[0] = 1; }),
            "cell 'c', %6 (param): has type f32[4, 4], expected f32[9, 4]");
}

TEST_F(Broken, ChildrenOfAPortThatHasNone) {
  EXPECT_EQ(with_nodes([](auto& nodes) {
              nodes[3] = {&op(OpId::constant), {DType::f32, {4}, 1}, {}, {.shape = {4}}};
            }),
            "cell 'c', %3 (constant): port 1 is not a Children port");
}

TEST_F(Broken, LeavesOfBackwardCells) {
  for (const char* name : {"cotangent", "output", "residual"})
    EXPECT_EQ(with_node(3, [&](Node& n) { n = {&op(name), n.type, {}, {}}; }),
              "cell 'c', %3 (" + std::string(name) + "): a leaf of backward cells");
}

TEST_F(Broken, OutputsThatAreNoNodes) {
  EXPECT_EQ(with_cell([](Cell& cell) { cell.outputs[1] = 10; }),
            "cell 'c': an output that is no node: %10");
}

TEST_F(Broken, OutputTypes) {
  EXPECT_EQ(with_cell([](Cell& cell) { cell.outputs[1] = 7; }).substr(0, 43),
            "cell 'c', %9 (sigmoid): no output needs it");
  EXPECT_EQ(with_cell([](Cell& cell) { cell.outputs = {9, 5}; }), "(nothing thrown)");
  program_.states[1].fields[1].shape = {5};
  program_.cells[0].ports[2].state = 0;
  EXPECT_EQ(with_node(4, [](Node& n) { n.attributes.ints[1] = 0; }),
            "cell 'c': output 1 has type f32[4], field 1 of state 'Two' has f32[5]");
}

TEST_F(Broken, OutputCounts) {
  EXPECT_EQ(with_cell([](Cell& cell) { cell.outputs.push_back(9); }),
            "cell 'c': has 3 outputs, state 'Two' has 2 fields");
}

TEST_F(Broken, States) {
  EXPECT_EQ(with_cell([](Cell& cell) { cell.ports[1].state = 2; }),
            "cell 'c': port 'x' has state 2");
}

TEST_F(Broken, CellStates) {
  EXPECT_EQ(with_cell([](Cell& cell) { cell.state = -1; }), "cell 'c': there is no state -1");
}

TEST_F(Broken, IndexPortsWithAState) {
  EXPECT_EQ(with_cell([](Cell& cell) { cell.ports[0].state = 0; }),
            "cell 'c': port 'i' has state 0");
}

TEST_F(Broken, NamesTwice) {
  program_.params[1].name = "w";
  EXPECT_EQ(refused(), "two params are called 'w'");
  program_.params[1].name = "e";
  program_.cells[0].ports[1].name = "i";
  EXPECT_EQ(refused(), "two ports of cell 'c' are called 'i'");
  program_.cells[0].ports[1].name = "x";
  program_.states.push_back(program_.states[0]);
  EXPECT_EQ(refused(), "two states are called 'S'");
  program_.states.pop_back();
  program_.cells.push_back(program_.cells[0]);
  EXPECT_EQ(refused(), "two cells are called 'c'");
}

TEST_F(Broken, FieldsOfStates) {
  program_.states.push_back({"Empty", {}});
  EXPECT_EQ(refused(), "state 'Empty' has no fields");
  program_.states.back() = {"Index", {{DType::i32, {}, per_instance}}};
  EXPECT_EQ(refused(), "state 'Index' has a field of type i32[]");
  program_.states.back() = {"Each", {{DType::f32, {}, 2}}};
  EXPECT_EQ(refused(), "state 'Each' has a field of type f32[]*2");
}

class BrokenGradient : public Broken {
 protected:
  Differentiated cell_ = differentiate(program_, simplify(program_.cells[0]));

  std::string refused_after(const std::function<void(Differentiated&)>& change) {
    Differentiated broken = cell_;
    change(broken);
    return refusal<InternalError>([&] { verify(broken, program_); });
  }
};

TEST_F(BrokenGradient, NotYet) {
  EXPECT_NO_THROW(verify(cell_, program_));
  EXPECT_EQ(cell_.backward.child_gradients.size(), 3u);
  EXPECT_EQ(cell_.backward.contributions.size(), 2u);
}

TEST_F(BrokenGradient, ChildGradients) {
  EXPECT_EQ(refused_after([](auto& c) { c.backward.child_gradients[2].field = 0; }),
            "internal error: backward cell 'c': the gradient of field 1 of port 'hs' is missing or "
            "has another type");
  EXPECT_EQ(refused_after([](auto& c) {
              std::swap(c.backward.child_gradients[0].output, c.backward.child_gradients[1].output);
            }),
            "internal error: backward cell 'c': the gradient of field 0 of port 'x' is missing or "
            "has another type");
  EXPECT_EQ(refused_after([](auto& c) {
              c.backward.child_gradients.push_back(c.backward.child_gradients[0]);
            }),
            "internal error: backward cell 'c': too many child gradients");
}

TEST_F(BrokenGradient, Contributions) {
  const auto change = [&](ParamContribution::Kind kind, auto&& change) {
    return refused_after([&](auto& c) {
      for (ParamContribution& x : c.backward.contributions)
        if (x.kind == kind) change(x);
    });
  };
  using Kind = ParamContribution::Kind;
  const std::string place = "internal error: backward cell 'c': ";
  EXPECT_EQ(change(Kind::outer, [](auto& x) { x.param = 2; }), place + "there is no param 2");
  EXPECT_EQ(change(Kind::outer, [](auto& x) { x.param = 1; }),
            place + "a contribution does not fit param 'e' of shape [9, 4]");
  EXPECT_EQ(change(Kind::rows, [](auto& x) { x.index_port = 1; }),
            place + "a contribution does not fit param 'e' of shape [9, 4]");
  EXPECT_EQ(change(Kind::rows, [](auto& x) { x.kind = Kind::sum; }),
            place + "a contribution does not fit param 'e' of shape [9, 4]");
}

TEST_F(BrokenGradient, Residuals) {
  EXPECT_NE(refused_after([](auto& c) {
              std::vector<Node> nodes(c.backward.graph.nodes().begin(),
                                      c.backward.graph.nodes().end());
              for (Node& node : nodes)
                if (node.op->id == OpId::output) node.attributes.ints[0] = 2;
              c.backward.graph = Graph::unchecked(nodes);
            }).find("(output): there is no output 2"),
            std::string::npos);
}

TEST_F(BrokenGradient, ACellsOutputsAreItsFieldsOnly) {
  Cell forward = cell_.forward;
  EXPECT_NO_THROW(verify(forward, program_));
  forward.outputs.push_back(0);
  EXPECT_THROW(verify(forward, program_), InternalError);
}

}  // namespace
}  // namespace espalier::ir
