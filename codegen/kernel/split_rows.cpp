#include "codegen/kernel/split_rows.h"

#include <algorithm>

#include "base/error.h"
#include "codegen/kernel/analysis.h"

namespace espalier::codegen {
namespace {

/// Products of more elements fill a GPU without being split.
constexpr std::int64_t most_elements = std::int64_t{1} << 18;

class SplitRows {
 public:
  SplitRows(const Kernel& kernel, std::int64_t part_rows)
      : part_rows_(part_rows), kernel_(kernel), b_(kernel_) {
    internal_check(part_rows > 0 && part_rows % row_block == 0,
                   "found parts of {} rows, expected a multiple of {}", part_rows, row_block);
  }

  Kernel run() {
    std::vector<Stage> last;
    for (const Stage& stage : std::vector(std::move(kernel_.stages)))
      last.push_back(stage.outer_product && !stage.library &&
                             stage.extents[0] * stage.extents[1] <= most_elements &&
                             is_over_rows(stage)
                         ? split(stage)
                         : stage);
    // One launch for two products over the same rows: with more, registers do not suffice.
    std::ranges::stable_sort(first_, {}, &Stage::port);
    for (std::size_t i = 1; i < first_.size(); ++i)
      first_[i].joined = first_[i].port == first_[i - 1].port && !first_[i - 1].joined;
    kernel_.stages = std::move(first_);
    std::ranges::move(last, std::back_inserter(kernel_.stages));
    return std::move(kernel_);
  }

 private:
  /// Not over several products a row.
  bool is_over_rows(const Stage& stage) const {
    const auto product = match_outer_product(kernel_, stage, StageAnalysis(kernel_, stage));
    internal_check(product.has_value(), "kernel '{}': an outer product of another form",
                   kernel_.name);
    const Expr& end = kernel_[kernel_[product->sum].operands[1]];
    return end.kind == ExprKind::load_index &&
           kernel_.buffers[end.buffer].role == BufferRole::row_count;
  }

  /// Keeps the sums of the parts for later; gives the stage that adds them up.
  Stage split(Stage stage) {
    const StageAnalysis analysis(kernel_, stage);
    const auto product = match_outer_product(kernel_, stage, analysis);
    const Expr sum = kernel_[product->sum], end = kernel_[sum.operands[1]];
    const int port = kernel_.buffers[end.buffer].a;
    const std::int64_t size = stage.extents[0] * stage.extents[1];
    const ExprId element = b_.add(b_.multiply(b_.var(stage.variables[0]), stage.extents[1]),
                                  b_.var(stage.variables[1]));
    const BufferId partial = b_.buffer({.role = BufferRole::partial,
                                        .a = static_cast<int>(first_.size()),
                                        .b = static_cast<int>(part_rows_),
                                        .row_elements = size,
                                        .children = static_cast<std::int8_t>(port)});
    Stage part = stage;
    part.rows = RowDomain::parts;
    part.port = port;
    part.part_rows = part_rows_;
    part.row = b_.variable();
    part.joined = false;
    const ExprId from = b_.multiply(b_.var(part.row), part_rows_);
    const ExprId to = b_.least(b_.add(from, b_.integer(part_rows_)), sum.operands[1]);
    part.stores = {{partial, b_.add(b_.multiply(b_.var(part.row), size), element),
                    b_.reduce(Reduction::fma, static_cast<VarId>(sum.integer), from, to,
                              sum.operands[2], sum.operands[3], sum.block)}};
    first_.push_back(std::move(part));

    const VarId p = b_.variable();
    const ExprId parts = b_.divide(b_.add(sum.operands[1], b_.integer(part_rows_ - 1)), part_rows_);
    ExprId total = b_.reduce(Reduction::sum, p, b_.integer(0), parts,
                             b_.load(partial, b_.add(b_.multiply(b_.var(p), size), element)));
    if (product->previous >= 0)
      total = b_.emit(ir::Opcode::add, std::array{product->previous, total}, 0);
    stage.outer_product = false;
    stage.stores[0].value = total;
    return stage;
  }

  std::int64_t part_rows_;
  Kernel kernel_;
  KernelBuilder b_;
  std::vector<Stage> first_;  // of parts
};

}  // namespace

Kernel split_rows(const Kernel& kernel, std::int64_t part_rows) {
  return SplitRows(kernel, part_rows).run();
}

}  // namespace espalier::codegen
