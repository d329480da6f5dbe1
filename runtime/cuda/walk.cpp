#include "runtime/cuda/walk.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "codegen/kernel/analysis.h"

namespace espalier::runtime {

using codegen::BufferId;
using codegen::BufferRole;
using codegen::Expr;
using codegen::ExprId;
using codegen::ExprKind;
using codegen::RowDomain;
using codegen::Stage;
using codegen::WalkRecord;

namespace {

/// Of numbers that kernels write; 0 for others.
std::uintptr_t element_bytes(const codegen::Buffer& buffer) {
  switch (codegen::element(buffer)) {
    case codegen::Element::f32:
      return 4;
    case codegen::Element::bf16:
      return 2;
    default:
      return 0;
  }
}

/// Rows of such buffers are those of the launch or of its cell.
bool has_rows(const codegen::Buffer& buffer) {
  switch (buffer.role) {
    case BufferRole::own_field:
    case BufferRole::cotangent:
    case BufferRole::residual:
    case BufferRole::contribution:
    case BufferRole::scratch:
    case BufferRole::partial:
      return buffer.row_elements > 0;
    default:
      return false;
  }
}

/// Whether rows of the stage are those of the buffer.
bool same_rows(const Stage& stage, const codegen::Buffer& buffer) {
  if (buffer.role == BufferRole::partial)
    return stage.rows == RowDomain::parts && stage.part_rows == buffer.b &&
           stage.port == buffer.children;
  if (buffer.children == ir::per_instance) return stage.rows == RowDomain::instances;
  return stage.rows == RowDomain::children && stage.port == buffer.children;
}

/// The stride of an address in the row variable, whatever is added that indices choose within a row
/// of so many elements.
std::optional<std::int64_t> stride_in_rows(const codegen::Kernel& kernel,
                                           const std::vector<std::optional<std::int64_t>>& strides,
                                           ExprId id, std::int64_t row_elements) {
  if (strides[std::size_t(id)]) return strides[std::size_t(id)];
  const Expr& expr = kernel[id];
  if (expr.kind == ExprKind::iadd) {
    const auto a = stride_in_rows(kernel, strides, expr.operands[0], row_elements);
    const auto b = stride_in_rows(kernel, strides, expr.operands[1], row_elements);
    return a && b ? std::optional(*a + *b) : std::nullopt;
  }
  const bool within = expr.kind == ExprKind::load_index ||
                      (expr.kind == ExprKind::imul && expr.integer < row_elements);
  return within ? std::optional<std::int64_t>(0) : std::nullopt;
}

std::uintptr_t number(const void* address) { return reinterpret_cast<std::uintptr_t>(address); }

}  // namespace

bool shares_rows(const NotedLaunch& launch) {
  const Stage* const stage = launch.alone();
  return stage && stage->rows == RowDomain::instances && !stage->contraction &&
         launch.cuda().parts == 1;
}

const std::vector<StageUses::Use>& StageUses::of(const NotedLaunch& launch) {
  auto& all = uses_[launch.kernel];
  all.resize(launch.kernel->cuda_stages.size());
  std::vector<Use>& uses = all[std::size_t(launch.stage)];
  if (uses.empty())
    for (const Stage& stage : launch.stages()) add(uses, launch.kernel->kernel, stage);
  return uses;
}

void StageUses::add(std::vector<Use>& uses, const codegen::Kernel& kernel, const Stage& stage) {
  const auto before = std::ptrdiff_t(uses.size());  // those of stages that are joined
  const codegen::StageAnalysis analysis(kernel, stage);
  std::vector<std::optional<std::int64_t>> row_strides(kernel.exprs.size());
  if (stage.rows != RowDomain::once) row_strides = codegen::strides(kernel, analysis, stage.row);
  const auto use = [&](BufferId id, ExprId address, bool written) {
    const codegen::Buffer& buffer = kernel.buffers[std::size_t(id)];
    if (element_bytes(buffer) == 0) return;
    auto found = std::ranges::find(uses.begin() + before, uses.end(), id, &Use::buffer);
    if (found == uses.end()) found = uses.insert(uses.end(), {.buffer = id});
    (written ? found->written : found->read) = true;
    found->own_rows &=
        has_rows(buffer) && same_rows(stage, buffer) && address >= 0 &&
        stride_in_rows(kernel, row_strides, address, buffer.row_elements) == buffer.row_elements;
    const bool once = stage.rows == RowDomain::once && address >= 0;
    const auto elements = once ? codegen::range_in_first_row(kernel, stage, address) : std::nullopt;
    found->known &= elements.has_value();
    if (!elements || address == found->address) return;
    found->first = std::min(found->first, elements->first);
    found->last = std::max(found->last, elements->second);
    // Columns of a matrix, if that is the only access.
    found->period = 0;
    if (std::exchange(found->address, address) >= 0 || stage.extents.size() != 2) return;
    const auto outer = codegen::strides(kernel, analysis, stage.variables[0]);
    const auto inner = codegen::strides(kernel, analysis, stage.variables[1]);
    const auto period = outer[std::size_t(address)];
    if (!period || *period <= 0 || inner[std::size_t(address)] != 1) return;
    const std::int64_t column = elements->first % *period;
    if (column + stage.extents[1] > *period) return;
    found->period = *period;
    found->first_column = column;
    found->last_column = column + stage.extents[1] - 1;
  };
  std::vector<bool> seen(kernel.exprs.size());
  const std::function<void(ExprId)> visit = [&](ExprId id) {
    if (id < 0 || seen[std::size_t(id)]) return;
    seen[std::size_t(id)] = true;
    const Expr& expr = kernel[id];
    if (expr.kind == ExprKind::load) use(expr.buffer, expr.operands[0], false);
    std::ranges::for_each(expr.operands, visit);
  };
  for (const codegen::Store& store : stage.stores) {
    use(store.buffer, store.address, true);
    visit(store.address);
    visit(store.value);
  }
  if (stage.contraction) {
    use(stage.contraction->weights, -1, false);
    for (const auto& term : stage.contraction->terms) {
      use(term.x, term.address, false);
      visit(term.address);
    }
  }
}

std::optional<Conflicts::Range> Conflicts::allocation(std::uintptr_t address) const {
  auto after = allocations_.upper_bound(address);
  if (after == allocations_.begin()) return {};
  const auto& [begin, bytes] = *--after;
  if (address >= begin + bytes) return {};
  return Range{.begin = begin, .end = begin + bytes};
}

/// The rows or elements where they are known, else the whole allocation.
std::optional<Conflicts::Range> Conflicts::range(const NotedLaunch& launch,
                                                 const StageUses::Use& use) {
  const codegen::Buffer& buffer = launch.kernel->kernel.buffers[std::size_t(use.buffer)];
  const std::uintptr_t pointer = number(launch.pointers[use.buffer]);
  const std::uintptr_t bytes = element_bytes(buffer);
  const std::uintptr_t row_bytes = std::uintptr_t(buffer.row_elements) * bytes;
  const bool of_cells = has_rows(buffer);
  if (use.own_rows) {
    Range rows{.begin = pointer + std::uintptr_t(launch.row_begin) * row_bytes,
               .end = pointer + std::uintptr_t(launch.row_end) * row_bytes};
    if (buffer.role == BufferRole::scratch) scratch_ = allocation(rows.begin);
    if (shares_rows(launch)) rows.rows = {launch.row_begin, launch.row_end};
    return rows;
  }
  if (use.known)
    return Range{.begin = pointer + std::uintptr_t(use.first) * bytes,
                 .end = pointer + std::uintptr_t(use.last + 1) * bytes,
                 .origin = pointer,
                 .period = use.period,
                 .first_column = use.first_column,
                 .last_column = use.last_column};
  // Pointers are shifted so that a batch's first row lies where its memory begins; by which child
  // row, a launch over cell rows does not know.
  if (buffer.role == BufferRole::scratch && of_cells && buffer.children != ir::per_instance)
    return scratch_;
  const bool shifted = of_cells && buffer.children == ir::per_instance &&
                       (buffer.role == BufferRole::own_field ||
                        buffer.role == BufferRole::cotangent || buffer.role == BufferRole::scratch);
  return allocation(shifted ? pointer + std::uintptr_t(launch.cell_begin) * row_bytes : pointer);
}

bool Conflicts::Range::conflicts(const Range& other) const {
  if (rows && rows == other.rows && begin == other.begin && end == other.end) return false;
  const bool same_matrix = period > 0 && period == other.period && origin == other.origin;
  if (same_matrix && (last_column < other.first_column || other.last_column < first_column))
    return false;
  return (written || other.written) && begin < other.end && other.begin < end;
}

bool Conflicts::barrier_before(const NotedLaunch& launch) {
  now_.clear();
  unknown_now_ = false;
  for (const StageUses::Use& use : uses_.of(launch)) {
    std::optional<Range> found = range(launch, use);
    unknown_now_ |= !found;
    if (!found) continue;
    found->written = use.written;
    now_.push_back(*found);
  }
  const bool meet = unknown_since_ || (unknown_now_ && !since_.empty()) ||
                    std::ranges::any_of(now_, [&](const Range& range) {
                      return std::ranges::any_of(
                          since_, [&](const Range& other) { return range.conflicts(other); });
                    });
  if (meet) {
    since_.clear();
    unknown_since_ = false;
  }
  since_.insert(since_.end(), now_.begin(), now_.end());
  unknown_since_ |= unknown_now_;
  return meet;
}

bool Conflicts::writes(const void* address, std::int64_t bytes) const {
  const Range wanted{.begin = number(address), .end = number(address) + std::uintptr_t(bytes)};
  return unknown_now_ || std::ranges::any_of(now_, [&](const Range& range) {
           return range.written && range.conflicts(wanted);
         });
}

namespace {

const void* weights_of(const NotedLaunch& launch, const Stage& stage) {
  return launch.pointers[stage.contraction->weights];
}

}  // namespace

const Stage* may_hold(const NotedLaunch& launch) {
  const Stage* const stage = launch.alone();
  const bool few = launch.row_end - launch.row_begin <= most_held_rows;
  return stage && stage->contraction && !stage->library && few ? stage : nullptr;
}

HeldWeights* held_of(const NotedLaunch& launch, std::span<HeldWeights> held) {
  const Stage* const stage = may_hold(launch);
  if (!stage) return nullptr;
  const auto found = std::ranges::find(held, weights_of(launch, *stage), &HeldWeights::weights);
  if (found == held.end()) return nullptr;
  // The same weights may be read by contractions of other shapes.
  const codegen::HeldTile tile = codegen::held_tile(launch.kernel->kernel, *stage);
  const bool same = tile.terms <= found->tile.terms && tile.gates == found->tile.gates &&
                    tile.lanes == found->tile.lanes && tile.length == found->tile.length &&
                    tile.depth == found->tile.depth;
  return same ? &*found : nullptr;
}

std::vector<HeldWeights> choose_held(std::span<const NotedLaunch> launches, std::int64_t grid,
                                     std::int64_t bytes, std::int64_t work_bytes) {
  struct Candidate {
    HeldWeights held;
    std::int64_t times = 0;
    std::int64_t saved() const { return (times - 1) * held.tile.slice_bytes(held.width); }
  };
  std::vector<Candidate> candidates;
  for (const NotedLaunch& launch : launches) {
    const Stage* const stage = may_hold(launch);
    if (!stage) continue;
    const void* const weights = weights_of(launch, *stage);
    auto found =
        std::ranges::find(candidates, weights, [](const Candidate& c) { return c.held.weights; });
    const codegen::HeldTile tile = codegen::held_tile(launch.kernel->kernel, *stage);
    if (found == candidates.end()) {
      const std::int64_t width = (tile.length + grid - 1) / grid;
      candidates.push_back({{.weights = weights, .tile = tile, .width = width}, 0});
      found = candidates.end() - 1;
    }
    found->held.tile.terms = std::max(found->held.tile.terms, tile.terms);
    ++found->times;
  }
  std::ranges::stable_sort(candidates, std::ranges::greater{}, &Candidate::saved);
  std::vector<HeldWeights> held;
  std::int64_t used = 0, blocks = 0;
  for (Candidate& candidate : candidates) {
    HeldWeights& chosen = candidate.held;
    const std::int64_t slice = chosen.tile.slice_bytes(chosen.width);
    if (candidate.times < 2 || used + slice > bytes) continue;
    if (chosen.tile.work_bytes(chosen.width) > work_bytes) continue;
    chosen.offset = used;
    // Those that run side by side are held by different blocks.
    chosen.first_block = std::int32_t(blocks % grid);
    used += slice;
    blocks += chosen.tile.blocks(chosen.width);
    held.push_back(chosen);
  }
  return held;
}

std::vector<WalkRecord> plan_walk(std::span<const NotedLaunch> launches, Conflicts conflicts,
                                  std::int64_t grid, std::span<HeldWeights> held,
                                  std::int64_t held_begin) {
  std::vector<WalkRecord> records;
  std::int64_t tiles = 0;  // so far: the next begin behind them
  for (const NotedLaunch& launch : launches) {
    WalkRecord& record = records.emplace_back();
    record.row_begin = launch.row_begin;
    record.row_end = launch.row_end;
    record.buffer_count = std::int32_t(launch.kernel->kernel.buffers.size());
    if (conflicts.barrier_before(launch)) record.flags |= WalkRecord::barrier;
    for (HeldWeights& weights : held)
      if (conflicts.writes(weights.weights, weights.tile.packed_bytes())) weights.filled = false;
    if (HeldWeights* const weights = held_of(launch, held)) {
      if (!weights->filled) record.flags |= WalkRecord::fill;
      weights->filled = true;
      record.held_at = std::int32_t((held_begin + weights->offset) / 4);
      record.held_width = std::int32_t(weights->width);
      record.first_block = weights->first_block;
    } else if (shares_rows(launch)) {
      record.flags |= WalkRecord::share;
    } else {
      record.first_block = std::int32_t(tiles % grid);
      tiles += launch.cuda().tiles(launch.row_end - launch.row_begin);
    }
  }
  return records;
}

}  // namespace espalier::runtime
