#include "codegen/kernel/library_calls.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "codegen/kernel/analysis.h"
#include "codegen/kernel/library_splitter.h"

namespace espalier::codegen {

Kernel LibrarySplitter::run() {
  choose_packings();
  const std::vector<Stage> stages = std::exchange(kernel_.stages, {});
  for (std::size_t first = 0, end; first < stages.size(); first = end) {
    end = first + 1;
    while (end < stages.size() && stages[end].joined) ++end;
    joined(std::span(stages).subspan(first, end - first));
  }
  // If one scratch buffer is padded then all are, so that each has the same address for the same
  // number of padded rows.
  const auto by_any = [](const Stage& stage) { return stage.library.has_value(); };
  if (std::ranges::any_of(kernel_.stages, by_any))
    for (Buffer& buffer : kernel_.buffers) buffer.padded = buffer.role == BufferRole::scratch;
  return std::move(kernel_);
}

void LibrarySplitter::joined(std::span<const Stage> stages) {
  // In any order: none of them touches what another stores.
  std::vector<Stage> rest;
  for (std::size_t i = 0; i < stages.size();) {
    const Stage& stage = stages[i];
    if (stage.outer_product && !stage.library) {
      i += outer_products(stages.subspan(i), rest);
      continue;
    }
    ++i;
    if (stage.contraction && split_[std::size_t(stage.contraction->packing)])
      contraction(stage);
    else
      rest.push_back(stage);
  }
  if (!rest.empty()) rest.front().joined = false;
  std::ranges::move(rest, std::back_inserter(kernel_.stages));
}

void LibrarySplitter::choose_packings() {
  split_.assign(kernel_.packings.size(), true);
  for (const Stage& stage : kernel_.stages) {
    if (!stage.contraction) continue;
    const Packing& packing = kernel_.packings[std::size_t(stage.contraction->packing)];
    ContractionShape shape{.m = packing.m, .terms = {}, .gates = packing.gates};
    for (const Contraction::Term& term : stage.contraction->terms)
      shape.terms.push_back(term.k_length);
    const auto split = split_.begin() + stage.contraction->packing;
    *split = *split && !stage.library && by_library_(shape);
  }
  for (std::size_t i = 0; i < split_.size(); ++i) {
    if (!split_[i]) continue;
    // One panel without gates is the transposed matrix, in rows of `lanes`.
    Packing& packing = kernel_.packings[i];
    packing.gates = 1;
    packing.lanes = static_cast<int>(library_pitch(packing.m));
    packing.bf16 = bf16_;
    for (Buffer& buffer : kernel_.buffers)
      if (buffer.role == BufferRole::packed && buffer.a == int(i)) {
        buffer.row_elements = packing.elements();
        buffer.bf16 = bf16_;
      }
  }
}

BufferId LibrarySplitter::scratch(std::int64_t columns, std::int8_t children, bool bf16) {
  return b_.buffer({.role = BufferRole::scratch,
                    .a = next_scratch_++,
                    .row_elements = library_pitch(columns),
                    .children = children,
                    .bf16 = bf16});
}

ExprId LibrarySplitter::element(ExprId row, std::int64_t columns, ExprId at) {
  return b_.add(b_.multiply(row, library_pitch(columns)), at);
}

Stage LibrarySplitter::map_stage(RowDomain rows, int port, VarId row, std::int64_t extent) {
  Stage stage;
  stage.rows = rows;
  stage.port = port;
  stage.row = row;
  stage.extents = {extent};
  stage.variables = {b_.variable()};
  return stage;
}

void LibrarySplitter::gather(RowDomain rows, int port, VarId row, const std::vector<Piece>& pieces,
                             BufferId to, std::int64_t columns) {
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

std::optional<LibrarySplitter::InRow> LibrarySplitter::in_row(const Stage& stage, ExprId address,
                                                              VarId element) {
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

bool LibrarySplitter::store_twice(const Stage& stage, const std::vector<Piece>& pieces, BufferId to,
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
    while (maker > 0 && std::ranges::none_of(kernel_.stages[maker - 1].stores, stores_to)) --maker;
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

void LibrarySplitter::contraction(const Stage& stage) {
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
      whole.weights, whole.packing, {{x, b_.multiply(row, library_pitch(k)), 0, k}}};
  product.stores = {{sums, element(row, m, b_.var(product.variables[0])), b_.accumulator(0)}};
  product.library = {.bf16 = bf16_,
                     .a = x,
                     .b = whole.weights,
                     .out = sums,
                     .m = m,
                     .k = k,
                     .a_pitch = library_pitch(k),
                     .b_pitch = library_pitch(m),
                     .out_pitch = library_pitch(m)};
  kernel_.stages.push_back(std::move(product));

  Stage epilogue = stage;
  epilogue.contraction.reset();
  std::vector<ExprId> known(kernel_.exprs.size(), -1);
  for (Store& store : epilogue.stores) store.value = with_sums(store.value, stage, sums, m, known);
  kernel_.stages.push_back(std::move(epilogue));
}

ExprId LibrarySplitter::with_sums(ExprId id, const Stage& stage, BufferId sums, std::int64_t m,
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

ExprId LibrarySplitter::with_variables(ExprId id, const std::map<VarId, ExprId>& variables) {
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

std::int64_t ContractionShape::k() const {
  return std::accumulate(terms.begin(), terms.end(), std::int64_t{0});
}

std::string to_string(const ContractionShape& shape) {
  return fmt::format("{} [{}, {}]{}", shape.over_rows ? "outer product" : "contraction", shape.m,
                     fmt::join(shape.terms, " + "),
                     shape.gates == 1 ? "" : fmt::format(" of {} gates", shape.gates));
}

Kernel split_library_contractions(Kernel kernel,
                                  const std::function<bool(const ContractionShape&)>& by_library,
                                  bool bf16) {
  return LibrarySplitter(std::move(kernel), by_library, bf16).run();
}

}  // namespace espalier::codegen
