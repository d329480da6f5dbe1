#include "codegen/gemm.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "codegen/kernel_analysis.h"
#include "ir/error.h"

namespace espalier::codegen {
namespace {

/// Rows of a library's operands begin at 32 bytes, so that it may read vectors.
std::int64_t pitch_of(std::int64_t columns) { return (columns + 7) / 8 * 8; }

/// An outer product as the splitter needs it: what it sums over, and its factors' rows as
/// expressions of a row variable that all of its kind share.
struct Factors {
  std::int8_t rows = ir::per_instance;
  ExprId end = -1;
  std::pair<BufferId, ExprId> left, right;  ///< buffer, element 0 of the row
  std::int64_t m = 0, k = 0;
  BufferId gradient = -1;
  std::int64_t pitch = 0, column = 0;
  bool accumulates = false;

  /// Whether `next` continues this one's rows of the gradient.
  bool continued_by(const Factors& next, std::int64_t columns) const {
    return rows == next.rows && end == next.end && left == next.left && m == next.m &&
           gradient == next.gradient && pitch == next.pitch && column + columns == next.column &&
           accumulates == next.accumulates;
  }
};

class Splitter {
 public:
  Splitter(Kernel kernel, const std::function<bool(const GemmShape&)>& by_library, bool bf16)
      : kernel_(std::move(kernel)), by_library_(by_library), bf16_(bf16), b_(kernel_) {
    for (const Buffer& buffer : kernel_.buffers)
      if (buffer.role == BufferRole::scratch) next_scratch_ = std::max(next_scratch_, buffer.a + 1);
  }

  Kernel run() {
    choose_packings();
    const std::vector<Stage> stages = std::exchange(kernel_.stages, {});
    for (std::size_t i = 0; i < stages.size(); ++i) {
      if (stages[i].contraction && split_[std::size_t(stages[i].contraction->packing)])
        contraction(stages[i]);
      else if (stages[i].outer_product)
        i += outer_products(stages, i) - 1;
      else
        kernel_.stages.push_back(stages[i]);
    }
    // Where one scratch buffer is padded all are, so that each lies at the same place for equally
    // padded rows.
    const auto by_any = [](const Stage& stage) { return stage.library.has_value(); };
    if (std::ranges::any_of(kernel_.stages, by_any))
      for (Buffer& buffer : kernel_.buffers) buffer.padded = buffer.role == BufferRole::scratch;
    return std::move(kernel_);
  }

 private:
  void choose_packings() {
    split_.assign(kernel_.packings.size(), true);
    for (const Stage& stage : kernel_.stages) {
      if (!stage.contraction) continue;
      const Packing& packing = kernel_.packings[std::size_t(stage.contraction->packing)];
      GemmShape shape{.m = packing.m, .terms = {}, .gates = packing.gates};
      for (const Contraction::Term& term : stage.contraction->terms)
        shape.terms.push_back(term.k_length);
      const auto split = split_.begin() + stage.contraction->packing;
      *split = *split && by_library_(shape);
    }
    for (std::size_t i = 0; i < split_.size(); ++i) {
      if (!split_[i]) continue;
      // One panel without gates is the transposed matrix, in rows of `lanes`.
      Packing& packing = kernel_.packings[i];
      packing.gates = 1;
      packing.lanes = static_cast<int>(pitch_of(packing.m));
      packing.bf16 = bf16_;
      for (Buffer& buffer : kernel_.buffers)
        if (buffer.role == BufferRole::packed && buffer.a == int(i)) {
          buffer.row_elements = packing.elements();
          buffer.bf16 = bf16_;
        }
    }
  }

  BufferId scratch(std::int64_t columns, std::int8_t children, bool bf16) {
    return b_.buffer({.role = BufferRole::scratch,
                      .a = next_scratch_++,
                      .row_elements = pitch_of(columns),
                      .children = children,
                      .bf16 = bf16});
  }

  ExprId element(ExprId row, std::int64_t columns, ExprId at) {
    return b_.add(b_.multiply(row, pitch_of(columns)), at);
  }

  /// A stage over `extent` elements of each row, without stores yet.
  Stage map_stage(RowDomain rows, int port, VarId row, std::int64_t extent) {
    Stage stage;
    stage.rows = rows;
    stage.port = port;
    stage.row = row;
    stage.extents = {extent};
    stage.variables = {b_.variable()};
    return stage;
  }

  /// Copies pieces of rows, each from an element of a buffer on, side by side. Pieces of one length
  /// share a stage.
  struct Piece {
    BufferId from = -1;
    ExprId address = -1;
    std::int64_t column = 0, length = 0;
  };
  void gather(RowDomain rows, int port, VarId row, const std::vector<Piece>& pieces, BufferId to,
              std::int64_t columns) {
    std::map<std::int64_t, Stage> by_length;
    for (const Piece& piece : pieces) {
      auto found = by_length.find(piece.length);
      if (found == by_length.end())
        found = by_length.emplace(piece.length, map_stage(rows, port, row, piece.length)).first;
      const ExprId at = b_.var(found->second.variables[0]);
      found->second.stores.push_back(
          {to, element(b_.var(row), columns, b_.add(at, b_.integer(piece.column))),
           b_.load(piece.from, b_.add(piece.address, at))});
    }
    for (auto& [length, stage] : by_length) kernel_.stages.push_back(std::move(stage));
  }

  /// Where an address lies in its rows: row · stride + first, with no index in between.
  struct InRow {
    std::int64_t stride = 0, first = 0;
  };
  std::optional<InRow> in_row(const Stage& stage, ExprId address, VarId element) {
    const StageAnalysis analysis(kernel_, stage);
    const auto stride = strides(kernel_, analysis, stage.row)[std::size_t(address)];
    if (!stride) return std::nullopt;
    const ExprId zero = b_.integer(0);
    std::map<VarId, ExprId> first{{stage.row, zero}};
    if (element >= 0) {
      if (strides(kernel_, analysis, element)[std::size_t(address)] != 1) return std::nullopt;
      first.emplace(element, zero);
    }
    const Expr constant = kernel_[with_variables(address, first)];
    if (constant.kind != ExprKind::integer) return std::nullopt;
    return InRow{*stride, constant.integer};
  }

  /// If stages of this kernel have just made all that would be gathered, row by row, they store it
  /// to `to` as well.
  bool store_twice(const Stage& stage, const std::vector<Piece>& pieces, BufferId to,
                   std::int64_t columns) {
    struct Addition {
      std::size_t stage;
      Store store;
    };
    std::vector<Addition> additions;
    for (const Piece& piece : pieces) {
      const auto read = in_row(stage, piece.address, -1);
      std::size_t maker = kernel_.stages.size();
      const auto stores_to = [&](const Store& store) { return store.buffer == piece.from; };
      while (maker > 0 && std::ranges::none_of(kernel_.stages[maker - 1].stores, stores_to))
        --maker;
      if (!read || maker-- == 0) return false;
      const Stage& made_by = kernel_.stages[maker];
      if (made_by.rows != stage.rows || made_by.port != stage.port || made_by.extents.size() != 1)
        return false;
      const std::int64_t extent = made_by.extents[0];
      const VarId element_of = made_by.variables[0];
      std::vector<std::pair<std::int64_t, Store>> parts;  // by column of the piece
      for (const Store& store : made_by.stores) {
        if (!stores_to(store)) continue;
        const auto made = in_row(made_by, store.address, element_of);
        if (!made || made->stride != read->stride) return false;
        const std::int64_t column = made->first - read->first;
        if (column >= 0 && column + extent <= piece.length) parts.emplace_back(column, store);
      }
      std::ranges::sort(parts, {}, &std::pair<std::int64_t, Store>::first);
      if (std::int64_t(parts.size()) * extent != piece.length) return false;
      for (std::size_t i = 0; i < parts.size(); ++i) {
        if (parts[i].first != std::int64_t(i) * extent) return false;
        const ExprId at = b_.add(b_.var(element_of), b_.integer(piece.column + parts[i].first));
        additions.push_back(
            {maker, {to, element(b_.var(made_by.row), columns, at), parts[i].second.value}});
      }
    }
    for (const Addition& addition : additions)
      kernel_.stages[addition.stage].stores.push_back(addition.store);
    return true;
  }

  void contraction(const Stage& stage) {
    const Contraction& whole = *stage.contraction;
    const std::int64_t m = kernel_.packings[std::size_t(whole.packing)].m;
    const std::int64_t k = kernel_.packings[std::size_t(whole.packing)].k;
    const std::int8_t children =
        stage.rows == RowDomain::children ? std::int8_t(stage.port) : ir::per_instance;
    const BufferId x = scratch(k, children, bf16_), sums = scratch(m, children, false);
    std::vector<Piece> pieces;
    for (const Contraction::Term& term : whole.terms)
      pieces.push_back({term.x, term.address, term.k_begin, term.k_length});
    if (!store_twice(stage, pieces, x, k)) gather(stage.rows, stage.port, stage.row, pieces, x, k);

    const ExprId row = b_.var(stage.row);
    Stage product = map_stage(stage.rows, stage.port, stage.row, m);
    product.contraction = {
        whole.weights, whole.packing, {{x, b_.multiply(row, pitch_of(k)), 0, k}}};
    product.stores = {{sums, element(row, m, b_.var(product.variables[0])), b_.accumulator(0)}};
    product.library = {.bf16 = bf16_,
                       .a = x,
                       .b = whole.weights,
                       .out = sums,
                       .m = m,
                       .k = k,
                       .a_pitch = pitch_of(k),
                       .b_pitch = pitch_of(m),
                       .out_pitch = pitch_of(m)};
    kernel_.stages.push_back(std::move(product));

    Stage epilogue = stage;
    epilogue.contraction.reset();
    std::vector<ExprId> known(kernel_.exprs.size(), -1);
    for (Store& store : epilogue.stores)
      store.value = with_sums(store.value, stage, sums, m, known);
    kernel_.stages.push_back(std::move(epilogue));
  }

  /// The expression with loads of the sums for accumulators.
  ExprId with_sums(ExprId id, const Stage& stage, BufferId sums, std::int64_t m,
                   std::vector<ExprId>& known) {
    if (id < 0) return id;
    if (known[std::size_t(id)] >= 0) return known[std::size_t(id)];
    Expr expr = kernel_[id];
    ExprId result = id;
    if (expr.kind == ExprKind::accumulator) {
      const ExprId at =
          b_.add(b_.var(stage.variables[0]), b_.integer(expr.integer * stage.extents[0]));
      result = b_.load(sums, element(b_.var(stage.row), m, at));
    } else {
      bool changed = false;
      for (ExprId& operand : expr.operands) {
        const ExprId fresh = with_sums(operand, stage, sums, m, known);
        changed |= fresh != operand;
        operand = fresh;
      }
      if (changed) {
        kernel_.exprs.push_back(expr);
        result = ExprId(kernel_.exprs.size()) - 1;
      }
    }
    return known[std::size_t(id)] = result;
  }

  /// The integer expression with other expressions for some variables; equal ones get one id.
  ExprId with_variables(ExprId id, const std::map<VarId, ExprId>& variables) {
    const Expr expr = kernel_[id];
    const auto operand = [&](int i) {
      return with_variables(expr.operands[std::size_t(i)], variables);
    };
    switch (expr.kind) {
      case ExprKind::integer:
        return b_.integer(expr.integer);
      case ExprKind::variable: {
        const auto found = variables.find(VarId(expr.integer));
        return found == variables.end() ? b_.var(VarId(expr.integer)) : found->second;
      }
      case ExprKind::load_index:
        return b_.load_index(expr.buffer, operand(0));
      case ExprKind::iadd:
        return b_.add(operand(0), operand(1));
      case ExprKind::imul:
        return b_.multiply(operand(0), expr.integer);
      case ExprKind::idiv:
        return b_.divide(operand(0), expr.integer);
      case ExprKind::imod:
        return b_.modulo(operand(0), expr.integer);
      default:
        throw InternalError(fmt::format("kernel '{}': %{} is no address", kernel_.name, id));
    }
  }

  /// Nothing if the outer product is none for a library: of another count of rows, or with a left
  /// factor whose elements lie apart.
  std::optional<Factors> factors(const Stage& stage) {
    const StageAnalysis analysis(kernel_, stage);
    const auto parts = match_outer_product(kernel_, stage, analysis);
    internal_check(parts.has_value(), "kernel '{}': an outer product of another form",
                   kernel_.name);
    const VarId i = stage.variables[0], j = stage.variables[1];
    const Expr sum = kernel_[parts->sum], end = kernel_[sum.operands[1]];
    const Expr left = kernel_[parts->left], right = kernel_[parts->right];
    const auto by_i = strides(kernel_, analysis, i);
    const Expr begin = kernel_[sum.operands[0]];
    if (begin.kind != ExprKind::integer || begin.integer != 0 || end.kind != ExprKind::load_index ||
        kernel_.buffers[std::size_t(end.buffer)].role != BufferRole::row_count ||
        by_i[std::size_t(left.operands[0])] != 1)
      return std::nullopt;

    Factors result;
    result.rows = std::int8_t(kernel_.buffers[std::size_t(end.buffer)].a);
    const auto variable = row_variables_.find(result.rows);
    const VarId row = variable != row_variables_.end()
                          ? variable->second
                          : row_variables_.emplace(result.rows, b_.variable()).first->second;
    const ExprId zero = b_.integer(0);
    const std::map<VarId, ExprId> first{{VarId(sum.integer), b_.var(row)}, {i, zero}, {j, zero}};
    const Store store = stage.stores[0];
    result.pitch = by_i[std::size_t(store.address)].value();
    const Expr offset = kernel_[with_variables(store.address, {{i, zero}, {j, zero}})];
    if (offset.kind != ExprKind::integer) return std::nullopt;
    result.column = offset.integer;
    result.end = with_variables(sum.operands[1], {});
    result.left = {left.buffer, with_variables(left.operands[0], first)};
    result.right = {right.buffer, with_variables(right.operands[0], first)};
    result.m = stage.extents[0];
    result.k = stage.extents[1];
    result.gradient = store.buffer;
    result.accumulates = parts->previous >= 0;
    return result;
  }

  /// Stages from number `first` on that are pieces of one product become that; how many they are.
  std::size_t outer_products(const std::vector<Stage>& stages, std::size_t first) {
    const std::optional<Factors> one = factors(stages[first]);
    std::vector<Factors> pieces;
    GemmShape shape{.over_rows = true, .m = stages[first].extents[0], .terms = {}};
    if (one) {
      pieces.push_back(*one);
      shape.terms.push_back(one->k);
      while (first + pieces.size() < stages.size()) {
        const Stage& next = stages[first + pieces.size()];
        if (!next.outer_product) break;
        const std::optional<Factors> more = factors(next);
        if (!more || !one->continued_by(*more, shape.k())) break;
        pieces.push_back(*more);
        shape.terms.push_back(more->k);
      }
    }
    if (pieces.empty() || !by_library_(shape)) {
      const std::size_t count = std::max<std::size_t>(pieces.size(), 1);
      for (std::size_t i = 0; i < count; ++i) kernel_.stages.push_back(stages[first + i]);
      return count;
    }
    outer_product(pieces, shape.k());
    return pieces.size();
  }

  void outer_product(const std::vector<Factors>& pieces, std::int64_t k) {
    const Factors& one = pieces[0];
    std::vector<Piece> right;
    std::int64_t column = 0;
    for (const Factors& piece : pieces) {
      right.push_back({piece.right.first, piece.right.second, column, piece.k});
      column += piece.k;
    }
    const BufferId a = factor(one.rows, {{one.left.first, one.left.second, 0, one.m}}, one.m);
    const BufferId b = factor(one.rows, right, k);

    Stage stage;
    stage.rows = RowDomain::once;
    stage.outer_product = true;
    stage.extents = {one.m, k};
    stage.variables = {b_.variable(), b_.variable()};
    const ExprId i = b_.var(stage.variables[0]), j = b_.var(stage.variables[1]);
    const VarId row = b_.variable();
    const ExprId address = b_.add(b_.add(b_.multiply(i, one.pitch), j), b_.integer(one.column));
    ExprId sum = b_.reduce(Reduction::fma, row, b_.integer(0), one.end,
                           b_.load(a, element(b_.var(row), one.m, i)),
                           b_.load(b, element(b_.var(row), k, j)), row_block);
    if (one.accumulates)
      sum = b_.emit(ir::Opcode::add, std::array{b_.load(one.gradient, address), sum}, 0);
    stage.stores = {{one.gradient, address, sum}};
    stage.library = {.over_rows = true,
                     .rows = one.rows,
                     .accumulates = one.accumulates,
                     .bf16 = bf16_,
                     .a = a,
                     .b = b,
                     .out = one.gradient,
                     .m = one.m,
                     .k = k,
                     .a_pitch = pitch_of(one.m),
                     .b_pitch = pitch_of(k),
                     .out_pitch = one.pitch,
                     .out_offset = one.column};
    kernel_.stages.push_back(std::move(stage));
  }

  /// The rows of a factor in scratch, gathered once for all products that read them; 0 behind.
  BufferId factor(std::int8_t rows, const std::vector<Piece>& pieces, std::int64_t columns) {
    std::vector<std::array<std::int64_t, 3>> key{{rows, columns, 0}};
    for (const Piece& piece : pieces) key.push_back({piece.from, piece.address, piece.length});
    if (const auto found = factors_.find(key); found != factors_.end()) return found->second;
    const BufferId to = scratch(columns, rows, bf16_);
    const bool children = rows != ir::per_instance;
    const VarId row = row_variables_.at(rows);
    gather(children ? RowDomain::children : RowDomain::instances, children ? rows : -1, row, pieces,
           to, columns);
    Stage padding = map_stage(RowDomain::padding, children ? rows : -1, row, columns);
    padding.stores = {
        {to, element(b_.var(row), columns, b_.var(padding.variables[0])), b_.number(0)}};
    kernel_.stages.push_back(std::move(padding));
    return factors_[key] = to;
  }

  Kernel kernel_;
  const std::function<bool(const GemmShape&)>& by_library_;
  bool bf16_;
  KernelBuilder b_;
  int next_scratch_ = 0;
  std::vector<bool> split_;                     // by packing
  std::map<std::int8_t, VarId> row_variables_;  // of factors, by what their rows count
  std::map<std::vector<std::array<std::int64_t, 3>>, BufferId> factors_;
};

}  // namespace

std::int64_t GemmShape::k() const {
  return std::accumulate(terms.begin(), terms.end(), std::int64_t{0});
}

std::string to_string(const GemmShape& shape) {
  return fmt::format("{} [{}, {}]{}", shape.over_rows ? "outer product" : "contraction", shape.m,
                     fmt::join(shape.terms, " + "),
                     shape.gates == 1 ? "" : fmt::format(" of {} gates", shape.gates));
}

Kernel split_gemms(Kernel kernel, const std::function<bool(const GemmShape&)>& by_library,
                   bool bf16) {
  return Splitter(std::move(kernel), by_library, bf16).run();
}

}  // namespace espalier::codegen
