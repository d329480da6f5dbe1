// The deferred weight gradients of a cell: one kernel over all its instances, once a step, so that
// each param's gradient is one contraction with k = number of instances.
#include <algorithm>
#include <map>

#include "base/error.h"
#include "codegen/kernel/expressions.h"
#include "codegen/kernel/lower.h"
#include "codegen/kernel/pieces.h"
#include "ir/op.h"

namespace espalier::codegen {
namespace {

using ir::BackwardCell;
using ir::NodeId;
using ir::ParamContribution;

class WeightGradient {
 public:
  WeightGradient(const ir::Cell& cell, const BackwardCell& backward)
      : backward_(backward),
        storage_(backward_storage(backward)),
        input_{cell.name + ".weights", cell.ports, backward.graph, {}},
        plan_(leaves_only(backward.graph)),
        builder_(kernel_),
        expressions_(input_, plan_, builder_, /*deferred=*/true) {
    kernel_.name = input_.name;
    for (std::size_t i = 0; i < storage_.stored.size(); ++i) {
      const NodeId node = storage_.stored[i];
      plan_.treatment[node] = Treatment::computed;  // and stored, by the backward kernel
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

  std::vector<Piece> pieces_of(NodeId node) const {
    const auto found = pieces(backward_.graph, plan_, node);
    internal_check(found.has_value(), "{}: node {} is not kept", input_.name, node);
    return *found;
  }

  /// The memory of a value that lies in one piece.
  Segment segment(NodeId node, const Rows& rows) {
    const std::vector<Piece> found = pieces_of(node);
    internal_check(found.size() == 1, "{}: node {} lies in {} pieces", input_.name, node,
                   found.size());
    return expressions_.segment(found[0], rows.context);
  }

  void finish(Stage stage, const ParamContribution& c, BufferId gradient, ExprId address,
              ExprId sum, bool accumulate) {
    if (accumulate)
      sum = builder_.emit(ir::Opcode::add, std::array{builder_.load(gradient, address), sum}, 0);
    stage.rows = RowDomain::once;
    // Pieces of one contribution do not overlap in the gradient, so they may run together. Another
    // contribution to the same param waits.
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
    const std::vector<Piece> right_pieces = pieces_of(c.right);
    internal_check(terms == 1 || right_pieces.size() == 1, "{}: a matrix in {} pieces", input_.name,
                   right_pieces.size());
    for (const Piece& piece : right_pieces) {
      const Rows rows = rows_of(c.left, terms);
      Segment left = segment(c.left, rows);
      Segment right = expressions_.segment(piece, rows.context);
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
    const Segment left = segment(c.left, rows);
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
  const StagePlan leaves = leaves_only(backward.graph);
  const auto keep = [&](NodeId node) {
    if (storage.contribution(node) < 0) storage.stored.push_back(node);
  };
  // What leaves read is still there after the last batch: rows of arenas are written once.
  for (const ParamContribution& c : backward.contributions) {
    const auto left = pieces(backward.graph, leaves, c.left);
    if (c.kind == ParamContribution::Kind::rows || !left || left->size() > 1) keep(c.left);
    if (c.right < 0) continue;
    const auto right = pieces(backward.graph, leaves, c.right);
    const bool matrix = backward.graph[c.left].type.shape.rank() == 2;  // read in one piece
    if (!right || (matrix && right->size() > 1)) keep(c.right);
  }
  return storage;
}

Kernel lower_weight_gradient(const ir::Cell& cell, const BackwardCell& backward,
                             const std::vector<bool>& accumulates) {
  return WeightGradient(cell, backward).run(accumulates);
}

}  // namespace espalier::codegen
