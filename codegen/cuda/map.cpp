// Printing of stages that are neither contractions nor outer products: a thread, or a team of
// threads, an element. The last axis lies across neighbouring threads, so that rows are read and
// written in whole lines.
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "codegen/cuda/emitter.h"

namespace espalier::codegen {

namespace {

/// Elements with that many terms to sum keep a warp busy; with more, a block.
constexpr std::int64_t most_lane_terms = 1024;
/// A stage of more elements fills a GPU with one thread each.
constexpr std::int64_t few_elements = 1 << 14;

std::int64_t product(const std::vector<std::int64_t>& extents) {
  std::int64_t size = 1;
  for (std::int64_t extent : extents) size *= extent;
  return size;
}

}  // namespace

/// Whether it adds up partial sums: there are few of them.
bool CudaEmitter::is_sum_of_parts(const Expr& expr) const {
  const Expr& body = kernel_[expr.operands[2]];
  return body.kind == ExprKind::load && kernel_.buffers[body.buffer].role == BufferRole::partial;
}

/// Reductions along memory are shared by lanes, so that they read whole lines; few sums over all
/// rows of a minibatch are shared by a block.
CudaTeam CudaEmitter::team() const {
  const CudaTeam alone;
  std::int64_t most = 0;  // terms of an outermost reduction
  bool unknown = false;
  std::vector<bool> seen(kernel_.exprs.size());
  const std::function<void(ExprId)> visit = [&](ExprId id) {
    if (id < 0 || seen[id]) return;
    seen[id] = true;
    const Expr& expr = kernel_[id];
    if (expr.kind != ExprKind::reduce) {
      std::ranges::for_each(expr.operands, visit);
      return;
    }
    if (is_sum_of_parts(expr)) return;
    const Expr &begin = kernel_[expr.operands[0]], &end = kernel_[expr.operands[1]];
    const bool known = begin.kind == ExprKind::integer && end.kind == ExprKind::integer;
    unknown |= !known;
    if (known) most = std::max(most, end.integer - begin.integer);
  };
  for (ExprId root : roots_) visit(root);
  const bool once = stage_.rows == RowDomain::once;
  if (stage_.vector_reduce) {
    if (most > most_lane_terms || (once && unknown))
      return {.slots = 1, .members = cuda_threads, .by_block = true};
    const auto terms = static_cast<unsigned>(unknown ? 32 : std::clamp<std::int64_t>(most, 1, 32));
    const int lanes = static_cast<int>(std::bit_ceil(terms));
    return {.slots = cuda_threads / lanes, .members = lanes};
  }
  if (once && unknown && product(stage_.extents) < few_elements)
    return {.slots = 8, .members = cuda_threads / 8, .by_block = true};
  return alone;
}

bool CudaEmitter::has_wide_sums() const {
  return std::ranges::any_of(kernel_.exprs, [](const Expr& expr) {
    return expr.kind == ExprKind::reduce && expr.reduction == Reduction::wide_sum;
  });
}

void CudaEmitter::bind_coordinates(const std::string& element) {
  // The last axis varies fastest.
  std::int64_t below = 1;
  const std::int64_t size = product(stage_.extents);
  for (std::size_t axis = stage_.extents.size(); axis-- > 0;) {
    const std::int64_t extent = stage_.extents[axis];
    std::string at = below == 1 ? element : fmt::format("{} / {}", element, below);
    if (axis > 0) at = fmt::format("{} % {}", at, extent);
    if (extent == 1 && size > 0) at = "0";
    const VarId v = stage_.variables[axis];
    line("const {0} v{1} = static_cast<{0}>({2});", is_wide_variable(v) ? "i64" : "int", v, at);
    bind(v);
    below *= extent;
  }
}

void CudaEmitter::stores() {
  for (const Store& store : stage_.stores) {
    const std::string to = element(store.buffer, store.address);
    const bool rounds = kernel_.buffers[store.buffer].bf16;
    line(rounds ? "{} = to_bf16({});" : "{} = {};", to, value(store.value));
  }
}

/// The stage's tiles, as text: for each tile of rows, as many as there are parts.
std::string CudaEmitter::tile_count(const CudaStage& shape) const {
  if (stage_.rows == RowDomain::once) return std::to_string(shape.parts);
  std::string tiles = "row_end - row_begin";
  if (shape.row_tile > 1)
    tiles = fmt::format("({} + {}) / {}", tiles, shape.row_tile - 1, shape.row_tile);
  return shape.parts > 1 ? fmt::format("({}) * {}", tiles, shape.parts) : tiles;
}

/// Leaves out what is `outside`. Members of a block's team meet at barriers, so those without an
/// element take another's, as `instead` says.
void CudaEmitter::leave_out(const std::string& outside, const std::string& instead) {
  if (!team_.by_block) return line("if ({}) continue;", outside);
  line("const bool idle = {};", outside);
  line("if (idle) {};", instead);
}

/// Prints which row and which element of it a team has in a tile of several rows, each whole.
void CudaEmitter::find_in_rows(const CudaStage& shape, const std::string& slot) {
  const std::int64_t size = product(stage_.extents);
  line("const u32 slot = {};", slot);
  line("i64 row = row_begin + tile * {0} + slot / {1}u;", shape.row_tile, size);
  if (size > 1) line("const u32 element = slot % {}u;", size);
  leave_out(fmt::format("slot >= {}u || row >= row_end", shape.row_tile * size),
            "row = row_end - 1");
}

/// The same for a tile that is one row, or a part of one.
void CudaEmitter::find_in_part(const CudaStage& shape, const std::string& slot) {
  const std::int64_t size = product(stage_.extents), slots = team_.slots;
  const bool once = stage_.rows == RowDomain::once, whole = shape.parts == 1;
  if (!once)
    line(whole ? "const i64 row = row_begin + tile;" : "const i64 row = row_begin + tile / {};",
         shape.parts);
  const std::string_view type = size > INT32_MAX - cuda_threads ? "u64" : "u32";
  if (!whole)
    line("{0} element = static_cast<{0}>({1}) * {2}u + {3};", type,
         once ? "tile" : fmt::format("tile % {}", shape.parts), slots, slot);
  else if (size > 1 || slots > 1)
    line("{} element = {};", type, slot);
  if (size % slots != 0)
    leave_out(fmt::format("element >= {}u", size), fmt::format("element = {}u", size - 1));
  else if (team_.by_block)
    line("const bool idle = false;");
}

/// All members of a team evaluate, so that all take part in the reductions; one stores.
void CudaEmitter::stores_of_team() {
  std::vector<std::pair<std::string, std::string>> lines;
  for (const Store& store : stage_.stores) {
    std::string to = element(store.buffer, store.address);
    const bool rounds = kernel_.buffers[store.buffer].bf16;
    const std::string what = value(store.value);
    lines.emplace_back(std::move(to), rounds ? fmt::format("to_bf16({})", what) : what);
  }
  line("if (member != 0{}) continue;", team_.by_block ? " || idle" : "");
  for (const auto& [to, what] : lines) line("{} = {};", to, what);
}

CudaStage CudaEmitter::map() {
  team_ = team();
  const std::int64_t size = product(stage_.extents), slots = team_.slots;
  const bool once = stage_.rows == RowDomain::once, shared = team_.members > 1;
  CudaStage result;
  result.row_tile = once || size >= slots ? 1 : slots / size;
  result.parts = ceil_div(size, slots);
  result.shared_bytes = !team_.by_block ? 0 : (has_wide_sums() ? 8 : 4) * cuda_threads;

  if (shared) {
    line("constexpr int members = {};", team_.members);
    line("const int member = static_cast<int>(threadIdx.x) {} {};", team_.by_block ? "/" : "%",
         team_.by_block ? team_.slots : team_.members);
  }
  hoist(roots_);
  line("const i64 tiles = {};", tile_count(result));
  const std::string slot = !shared           ? "threadIdx.x"
                           : !team_.by_block ? fmt::format("threadIdx.x / {}u", team_.members)
                           : slots == 1      ? "0u"
                                             : fmt::format("threadIdx.x % {}u", slots);
  block("for (i64 tile = block; tile < tiles; tile += blocks) {", [&] {
    if (result.row_tile > 1)
      find_in_rows(result, slot);
    else
      find_in_part(result, slot);
    if (!once) {
      line("const int v{} = static_cast<int>(row);", stage_.row);
      bind(stage_.row);
    }
    bind_coordinates("element");
    if (shared)
      stores_of_team();
    else
      stores();
  });
  return result;
}

}  // namespace espalier::codegen
