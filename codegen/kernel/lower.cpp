#include "codegen/kernel/lower.h"

#include <algorithm>

#include "base/error.h"
#include "codegen/kernel/expressions.h"
#include "codegen/kernel/stage_plan.h"
#include "ir/op.h"

namespace espalier::codegen {
namespace {

using ir::Node;
using ir::NodeId;

class Lowering {
 public:
  Lowering(const LowerInput& input, const Target& target)
      : input_(input),
        target_(target),
        nodes_(output_nodes(input)),
        plan_(plan_stages(input.graph, nodes_, target)),
        builder_(kernel_),
        expressions_(input, plan_, builder_) {
    kernel_.name = input.name;
  }

  Kernel run() {
    for (const Output& output : input_.outputs)
      give_place(output.node, expressions_.place_of(output));
    int scratch = 0;
    for (NodeId id = input_.graph.size() - 1; id >= 0; --id)
      if (plan_.whole[id] ? !expressions_.whole_place(id)
                          : plan_.stored[id] && expressions_.places(id).empty()) {
        const ir::Type& type = input_.graph[id].type;
        give_place(id, {expressions_.buffer(BufferRole::scratch, scratch++, 0,
                                            row_stride(type.shape.size()), type.children),
                        type.shape,
                        {}});
      }
    for (std::size_t s = 0; s < plan_.stages.size(); ++s) emit_stage(int(s));
    return std::move(kernel_);
  }

 private:
  static std::vector<NodeId> output_nodes(const LowerInput& input) {
    std::vector<NodeId> nodes;
    for (const Output& output : input.outputs) nodes.push_back(output.node);
    return nodes;
  }

  /// Storage for a node; the parts of a concat get theirs inside it.
  void give_place(NodeId id, const Place& place) {
    expressions_.add_place(id, place);
    if (plan_.treatment[id] != Treatment::assembled) return;
    const Node& node = input_.graph[id];
    const int axis = node.attributes.ints[0];
    Place part_place = place;
    for (NodeId part : node.operands) {
      give_place(part, part_place);
      part_place.offset[axis] += input_.graph[part].type.shape[axis];
    }
  }

  void emit_stage(int index) {
    const PlannedStage& planned = plan_.stages[std::size_t(index)];
    Stage stage;
    stage.rows = planned.rows;
    stage.port = planned.port;
    stage.row = builder_.variable();
    stage.vector_reduce = planned.vector_reduce;
    std::vector<ExprId> coordinates;
    for (int axis = 0; axis < planned.domain.rank(); ++axis) {
      stage.extents.push_back(planned.domain[axis]);
      stage.variables.push_back(builder_.variable());
      coordinates.push_back(builder_.var(stage.variables.back()));
    }
    const RowContext rows{planned.rows, planned.port, builder_.var(stage.row)};
    expressions_.enter(index, rows, coordinates);
    if (planned.tile >= 0) stage.contraction = contraction(planned, rows);
    for (NodeId item : planned.items) store(item, rows, coordinates, stage);
    kernel_.stages.push_back(std::move(stage));
  }

  void store(NodeId item, const RowContext& rows, std::span<const ExprId> coordinates,
             Stage& stage) {
    const std::vector<Place> places = expressions_.places(item);
    const int gates = plan_.gates[item];
    for (Place place : places) {
      if (plan_.treatment[item] == Treatment::tile && gates > 1) {
        for (int gate = 0; gate < gates; ++gate) {
          stage.stores.push_back({place.buffer, expressions_.address(place, rows, coordinates),
                                  builder_.accumulator(gate)});
          place.offset[0] += input_.graph[item].type.shape[0] / gates;
        }
        continue;
      }
      stage.stores.push_back({place.buffer, expressions_.address(place, rows, coordinates),
                              expressions_.value(item, rows, coordinates)});
    }
  }

  Contraction contraction(const PlannedStage& planned, const RowContext& rows) {
    const NodeId tile = planned.tile;
    const Node& node = input_.graph[tile];
    Packing packing;
    packing.m = node.type.shape[0];
    packing.k = input_.graph[node.operands[1]].type.shape[0];
    packing.gates = plan_.gates[tile];
    packing.lanes = panel_lanes(target_, packing.gates, long(packing.gate_length()));
    packing.blocks = *weight_blocks(input_.graph, node.operands[0]);
    auto found = std::ranges::find(kernel_.packings, packing);
    if (found == kernel_.packings.end())
      found = kernel_.packings.insert(kernel_.packings.end(), packing);
    Contraction result;
    result.packing = int(found - kernel_.packings.begin());
    result.weights = expressions_.buffer(BufferRole::packed, result.packing, 0, packing.elements());
    std::int64_t k = 0;
    for (const Piece& piece : planned.factor) {
      const Segment segment = expressions_.segment(piece, rows);
      result.terms.push_back({segment.buffer, segment.address, k, segment.length});
      k += segment.length;
    }
    internal_check(k == packing.k, "{}: segments of {} elements for k = {}", input_.name, k,
                   packing.k);
    return result;
  }

  const LowerInput& input_;
  const Target& target_;
  std::vector<NodeId> nodes_;
  StagePlan plan_;
  Kernel kernel_;
  KernelBuilder builder_;
  Expressions expressions_;
};

}  // namespace

Kernel lower(const LowerInput& input, const Target& target) {
  return Lowering(input, target).run();
}

Kernel lower_forward(const ir::Program& program, const ir::Cell& cell, const Target& target) {
  LowerInput input{cell.name + ".forward", cell.ports, cell.graph, {}};
  const int fields = int(program.states[std::size_t(cell.state)].fields.size());
  for (int i = 0; i < int(cell.outputs.size()); ++i) {
    if (i < fields)
      input.outputs.push_back({cell.outputs[std::size_t(i)], BufferRole::own_field, i, 0});
    else
      input.outputs.push_back({cell.outputs[std::size_t(i)], BufferRole::residual, i - fields, 0});
  }
  return lower(input, target);
}

Kernel lower_backward(const ir::Cell& cell, const ir::BackwardCell& backward,
                      const Target& target) {
  LowerInput input{cell.name + ".backward", cell.ports, backward.graph, {}};
  for (const ir::ChildGradient& gradient : backward.child_gradients)
    input.outputs.push_back(
        {gradient.output, BufferRole::child_gradient, gradient.port, gradient.field});
  const BackwardStorage storage = backward_storage(backward);
  for (std::size_t i = 0; i < storage.stored.size(); ++i)
    input.outputs.push_back({storage.stored[i], BufferRole::contribution, int(i), 0});
  return lower(input, target);
}

}  // namespace espalier::codegen
