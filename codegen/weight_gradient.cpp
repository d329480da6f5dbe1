// The deferred weight gradients of a cell: one kernel over all its instances, once a step, so that
// each param's gradient is one contraction with k = number of instances.
#include <algorithm>
#include <map>

#include "codegen/expressions.h"
#include "codegen/lower.h"
#include "ir/error.h"
#include "ir/op.h"

namespace espalier::codegen {
namespace {

using ir::BackwardCell;
using ir::NodeId;
using ir::ParamContribution;

/// A gradient arrives in a row of an arena, which nothing changes once it is whole.
bool is_cotangent(const ir::Graph& graph, NodeId id) { return graph[id].op->name == "cotangent"; }

/// Whether the value can be read in place long after its batch: rows of arenas and of params.
bool outlives_batch(const ir::Graph& graph, NodeId id) {
  const ir::Node& node = graph[id];
  const std::string_view name = node.op->name;
  if (name == "port" || name == "residual" || name == "output")
    return node.type.dtype == ir::DType::f32;
  if (name == "row")
    return graph[node.operands[0]].op->name == "param" &&
           graph[node.operands[1]].op->name == "port";
  if (name == "reshape")  // a matrix is read in one piece
    return (node.type.shape.rank() == 1 || graph[node.operands[0]].op->kind == ir::OpClass::leaf) &&
           outlives_batch(graph, node.operands[0]);
  if (name == "concat" || name == "slice")
    return node.type.shape.rank() == 1 &&
           std::ranges::all_of(node.operands, [&](NodeId o) { return outlives_batch(graph, o); });
  return name == "per_child" && outlives_batch(graph, node.operands[0]);
}

class WeightGradient {
 public:
  WeightGradient(const ir::Cell& cell, const BackwardCell& backward)
      : backward_(backward),
        storage_(backward_storage(backward)),
        input_{cell.name + ".weights",
               cell.ports,
               backward.graph,
               {},
               std::vector<ir::Access>(cell.ports.size(), ir::Access::gathered)},
        builder_(kernel_),
        expressions_(input_, plan_, builder_, /*deferred=*/true) {
    kernel_.name = input_.name;
    const auto size = std::size_t(backward.graph.size());
    plan_ = {std::vector(size, Treatment::view),
             std::vector(size, -1),
             std::vector(size, false),
             std::vector(size, 1),
             {}};
    for (std::size_t i = 0; i < storage_.stored.size(); ++i) {
      const NodeId node = storage_.stored[i];
      expressions_.add_place(node,
                             expressions_.place_of({node, BufferRole::contribution, int(i), 0}));
    }
  }

  Kernel run(const std::vector<bool>& accumulates) {
    for (std::size_t i = 0; i < backward_.contributions.size(); ++i) {
      const ParamContribution& contribution = backward_.contributions[i];
      if (contribution.kind == ParamContribution::Kind::outer) outer(contribution, accumulates[i]);
      if (contribution.kind == ParamContribution::Kind::sum) sum(contribution, accumulates[i]);
    }
    return std::move(kernel_);
  }

 private:
  /// What a sum runs over: rows, and in each of them `terms` products.
  struct Rows {
    VarId variable = -1;
    RowContext context;
    ExprId term = -1;  ///< of the row
    ExprId end = -1;
  };

  Rows rows_of(NodeId node, std::int64_t terms = 1) {
    Rows rows;
    rows.variable = builder_.variable();
    const ExprId at = builder_.var(rows.variable);
    rows.term = builder_.modulo(at, terms);
    const std::int8_t children = backward_.graph[node].type.children;
    const bool per_child = children != ir::per_instance;
    rows.context = {per_child ? RowDomain::children : RowDomain::instances, children,
                    builder_.divide(at, terms)};
    rows.end =
        builder_.multiply(builder_.load_index(expressions_.buffer(BufferRole::row_count, children),
                                              builder_.integer(0)),
                          terms);
    return rows;
  }

  void finish(Stage stage, const ParamContribution& c, BufferId gradient, ExprId address,
              ExprId sum, bool accumulate) {
    if (accumulate)
      sum = builder_.emit(ir::Opcode::add, std::array{builder_.load(gradient, address), sum}, 0);
    stage.rows = RowDomain::once;
    // Pieces of one contribution lie apart in the gradient; another one waits for it.
    const auto [found, fresh] = joined_.emplace(c.param, &c);
    stage.joined = !kernel_.stages.empty() && (fresh || found->second == &c);
    if (!stage.joined) joined_ = {{c.param, &c}};
    stage.stores.push_back({gradient, address, sum});
    kernel_.stages.push_back(std::move(stage));
  }

  void outer(const ParamContribution& c, bool accumulate) {
    const ir::Shape& shape = backward_.graph[c.left].type.shape;
    const std::int64_t terms = shape.rank() == 2 ? shape[0] : 1, m = shape.size() / terms;
    const std::int64_t k = backward_.graph[c.right].type.shape.size() / terms;
    const BufferId gradient = expressions_.buffer(BufferRole::param_gradient, c.param, 0, m * k);
    std::int64_t column = 0;
    // One tile loop per piece of the right vector that lies in one piece of memory.
    const std::size_t pieces =
        expressions_.segments(c.right, rows_of(c.left, terms).context).size();
    internal_check(terms == 1 || pieces == 1, "{}: a matrix in {} pieces", input_.name, pieces);
    for (std::size_t piece = 0; piece < pieces; ++piece) {
      const Rows rows = rows_of(c.left, terms);
      Segment left = expressions_.segments(c.left, rows.context).front();
      Segment right = expressions_.segments(c.right, rows.context)[piece];
      left.address = builder_.add(left.address, builder_.multiply(rows.term, m));
      right.address = builder_.add(right.address, builder_.multiply(rows.term, k));
      right.length /= terms;
      Stage stage;
      stage.outer_product = true;
      stage.extents = {m, right.length};
      stage.variables = {builder_.variable(), builder_.variable()};
      const ExprId i = builder_.var(stage.variables[0]), j = builder_.var(stage.variables[1]);
      const ExprId sum =
          builder_.reduce(Reduction::fma, rows.variable, builder_.integer(0), rows.end,
                          builder_.load(left.buffer, builder_.add(left.address, i)),
                          builder_.load(right.buffer, builder_.add(right.address, j)), row_block);
      const ExprId address =
          builder_.add(builder_.add(builder_.multiply(i, k), j), builder_.integer(column));
      finish(std::move(stage), c, gradient, address, sum, accumulate);
      column += right.length;
    }
  }

  void sum(const ParamContribution& c, bool accumulate) {
    const std::int64_t n = backward_.graph[c.left].type.shape.size();
    const BufferId gradient = expressions_.buffer(BufferRole::param_gradient, c.param, 0, n);
    const Rows rows = rows_of(c.left);
    const Segment left = expressions_.segments(c.left, rows.context).front();
    Stage stage;
    stage.extents = {n};
    stage.variables = {builder_.variable()};
    const ExprId j = builder_.var(stage.variables[0]);
    const ExprId sum =
        builder_.reduce(Reduction::sum, rows.variable, builder_.integer(0), rows.end,
                        builder_.load(left.buffer, builder_.add(left.address, j)), -1, row_block);
    finish(std::move(stage), c, gradient, j, sum, accumulate);
  }

  const BackwardCell& backward_;
  BackwardStorage storage_;
  LowerInput input_;
  StagePlan plan_;
  Kernel kernel_;
  KernelBuilder builder_;
  Expressions expressions_;
  std::map<ir::ParamId, const ParamContribution*> joined_;  // what the last stages add up
};

}  // namespace

int BackwardStorage::contribution(NodeId node) const {
  const auto found = std::ranges::find(stored, node);
  return found == stored.end() ? -1 : int(found - stored.begin());
}

BackwardStorage backward_storage(const BackwardCell& backward) {
  BackwardStorage storage;
  const auto keep = [&](NodeId node) {
    if (storage.contribution(node) < 0) storage.stored.push_back(node);
  };
  for (const ParamContribution& c : backward.contributions) {
    if (c.kind == ParamContribution::Kind::rows || !is_cotangent(backward.graph, c.left))
      keep(c.left);
    if (c.right >= 0 && !outlives_batch(backward.graph, c.right)) keep(c.right);
  }
  return storage;
}

Kernel lower_weight_gradient(const ir::Cell& cell, const BackwardCell& backward,
                             const std::vector<bool>& accumulates) {
  return WeightGradient(cell, backward).run(accumulates);
}

}  // namespace espalier::codegen
