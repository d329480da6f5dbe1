#include "runtime/cuda/walk_conflicts.h"

#include <algorithm>
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

namespace {

/// Size of an element if kernels may write the buffer; 0 for index arrays.
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

/// Whether the buffer has one row for each row of a launch, or of its cell.
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

/// Whether row i of the stage corresponds to row i of the buffer.
bool same_rows(const Stage& stage, const codegen::Buffer& buffer) {
  if (buffer.role == BufferRole::partial)
    return stage.rows == RowDomain::parts && stage.part_rows == buffer.b &&
           stage.port == buffer.children;
  if (buffer.children == ir::per_instance) return stage.rows == RowDomain::instances;
  return stage.rows == RowDomain::children && stage.port == buffer.children;
}

/// The stride of an address in the row variable. An offset that an index array chooses within a row
/// of `row_elements` counts as 0. Nothing if the address is not of that form.
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

bool shares_rows(const PendingLaunch& launch) {
  const Stage* const stage = launch.alone();
  return stage && stage->rows == RowDomain::instances && !stage->contraction &&
         launch.cuda().parts == 1;
}

namespace {

/// Collects the uses of one stage, appended to those of stages it is joined with.
class UseCollector {
 public:
  UseCollector(std::vector<StageUses::Use>& uses, const codegen::Kernel& kernel, const Stage& stage)
      : uses_(uses),
        first_(std::ptrdiff_t(uses.size())),
        kernel_(kernel),
        stage_(stage),
        analysis_(kernel, stage),
        row_strides_(kernel.exprs.size()),
        seen_(kernel.exprs.size()) {
    if (stage.rows != RowDomain::once)
      row_strides_ = codegen::strides(kernel, analysis_, stage.row);
  }

  void collect() {
    for (const codegen::Store& store : stage_.stores) {
      add(store.buffer, store.address, true);
      visit(store.address);
      visit(store.value);
    }
    if (!stage_.contraction) return;
    add(stage_.contraction->weights, -1, false);
    for (const auto& term : stage_.contraction->terms) {
      add(term.x, term.address, false);
      visit(term.address);
    }
  }

 private:
  /// Adds the loads of an expression.
  void visit(ExprId id) {
    if (id < 0 || seen_[std::size_t(id)]) return;
    seen_[std::size_t(id)] = true;
    const Expr& expr = kernel_[id];
    if (expr.kind == ExprKind::load) add(expr.buffer, expr.operands[0], false);
    for (const ExprId operand : expr.operands) visit(operand);
  }

  /// Adds an access; an `address` of -1 is unknown.
  void add(BufferId id, ExprId address, bool written) {
    const codegen::Buffer& buffer = kernel_.buffers[std::size_t(id)];
    if (element_bytes(buffer) == 0) return;
    auto found =
        std::ranges::find(uses_.begin() + first_, uses_.end(), id, &StageUses::Use::buffer);
    if (found == uses_.end()) found = uses_.insert(uses_.end(), {.buffer = id});
    (written ? found->written : found->read) = true;
    found->own_rows &=
        has_rows(buffer) && same_rows(stage_, buffer) && address >= 0 &&
        stride_in_rows(kernel_, row_strides_, address, buffer.row_elements) == buffer.row_elements;
    add_elements(*found, address);
  }

  /// Extends the range of elements, which only stages that run once have.
  void add_elements(StageUses::Use& use, ExprId address) {
    const bool once = stage_.rows == RowDomain::once && address >= 0;
    const auto elements =
        once ? codegen::range_in_first_row(kernel_, stage_, address) : std::nullopt;
    use.known &= elements.has_value();
    if (!elements || address == use.address) return;
    use.first = std::min(use.first, elements->first);
    use.last = std::max(use.last, elements->second);
    use.period = 0;
    const bool only_access = std::exchange(use.address, address) < 0;
    if (only_access) find_columns(use, elements->first);
  }

  /// Finds out whether the accessed elements are columns of a matrix.
  void find_columns(StageUses::Use& use, std::int64_t first_element) const {
    if (stage_.extents.size() != 2) return;
    const auto outer = codegen::strides(kernel_, analysis_, stage_.variables[0]);
    const auto inner = codegen::strides(kernel_, analysis_, stage_.variables[1]);
    const auto period = outer[std::size_t(use.address)];
    if (!period || *period <= 0 || inner[std::size_t(use.address)] != 1) return;
    const std::int64_t column = first_element % *period;
    if (column + stage_.extents[1] > *period) return;
    use.period = *period;
    use.first_column = column;
    use.last_column = column + stage_.extents[1] - 1;
  }

  std::vector<StageUses::Use>& uses_;
  const std::ptrdiff_t first_;
  const codegen::Kernel& kernel_;
  const Stage& stage_;
  const codegen::StageAnalysis analysis_;
  std::vector<std::optional<std::int64_t>> row_strides_;
  std::vector<bool> seen_;
};

}  // namespace

const std::vector<StageUses::Use>& StageUses::of(const PendingLaunch& launch) {
  auto& all = uses_[launch.kernel];
  all.resize(launch.kernel->cuda_stages.size());
  std::vector<Use>& uses = all[std::size_t(launch.stage)];
  if (uses.empty())
    for (const Stage& stage : launch.stages())
      UseCollector(uses, launch.kernel->kernel, stage).collect();
  return uses;
}

std::optional<Conflicts::Range> Conflicts::allocation(std::uintptr_t address) const {
  auto after = allocations_.upper_bound(address);
  if (after == allocations_.begin()) return {};
  const auto& [begin, bytes] = *--after;
  if (address >= begin + bytes) return {};
  return Range{.begin = begin, .end = begin + bytes};
}

/// The rows or elements if they are known, else the whole allocation. Nothing if not even that is.
std::optional<Conflicts::Range> Conflicts::range(const PendingLaunch& launch,
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
  // The pointers of a batch are shifted: its first row, not row 0, lies where its memory begins.
  // For rows of children the shift is not known here.
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

bool Conflicts::barrier_before(const PendingLaunch& launch) {
  now_.clear();
  unknown_now_ = false;
  for (const StageUses::Use& use : uses_.of(launch)) {
    std::optional<Range> found = range(launch, use);
    unknown_now_ |= !found;
    if (!found) continue;
    found->written = use.written;
    now_.push_back(*found);
  }
  const bool barrier = unknown_since_ || (unknown_now_ && !since_.empty()) ||
                       std::ranges::any_of(now_, [&](const Range& range) {
                         return std::ranges::any_of(
                             since_, [&](const Range& other) { return range.conflicts(other); });
                       });
  if (barrier) {
    since_.clear();
    unknown_since_ = false;
  }
  since_.insert(since_.end(), now_.begin(), now_.end());
  unknown_since_ |= unknown_now_;
  return barrier;
}

bool Conflicts::writes(const void* address, std::int64_t bytes) const {
  const Range wanted{.begin = number(address), .end = number(address) + std::uintptr_t(bytes)};
  return unknown_now_ || std::ranges::any_of(now_, [&](const Range& range) {
           return range.written && range.conflicts(wanted);
         });
}

}  // namespace espalier::runtime
