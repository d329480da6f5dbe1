// CUDA C++ for one stage: expressions, loops, tiles. Internal to codegen/cuda. As in the
// CPU's emitter a value is printed once a scope and, by hoist(), outside every loop on which it
// does not depend: the compiler could not move loads across the stores.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "codegen/cuda/emit.h"
#include "codegen/kernel/analysis.h"
#include "codegen/kernel/kernel.h"

namespace espalier::codegen {

/// Threads of a block in every stage, so that one kernel can run all of them.
inline constexpr int cuda_threads = 256;

/// How the threads of a block share a stage's elements: `members` threads, neighbours or a block's
/// distance apart, work on each of `slots` elements and split its outermost reductions.
struct CudaTeam {
  int slots = cuda_threads, members = 1;
  /// The members exchange values through shared memory; else they are lanes of a warp and use
  /// shuffles.
  bool by_block = false;
};

/// What a stage's function is printed for.
enum class StageForm : std::uint8_t {
  plain,   ///< a kernel of its own
  walked,  ///< a walker
  held,    ///< a walker whose blocks hold the weights of a contraction
};

class CudaEmitter {
 public:
  CudaEmitter(const Kernel& kernel, const Stage& stage, std::string& text, StageForm form);

  /// Prints the body of the stage's function, and says how to launch it.
  CudaStage emit();

 private:
  /// Until it ends, what is printed and bound belongs to the loop body or function at hand.
  class Scope {
   public:
    explicit Scope(CudaEmitter& emitter);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    CudaEmitter& e_;
    std::size_t undo_;
    VariableSet bound_;
  };

  // Text (emit.cpp).
  template <class... Args>
  void line(std::string_view format, const Args&... args) {
    text_.append(2 * static_cast<std::size_t>(indent_), ' ');
    fmt::format_to(std::back_inserter(text_), fmt::runtime(format), args...);
    text_ += '\n';
  }
  /// A line, a body one level deeper in a Scope of its own, and a last line.
  void block(const std::string& first, const std::function<void()>& body,
             std::string_view last = "}");
  void buffers();

  // Stages that are no tiles (map.cpp).
  CudaStage map();
  CudaTeam team() const;
  bool is_sum_of_parts(const Expr& expr) const;
  bool has_wide_sums() const;
  /// Whether an outermost reduction is shared by the members of a team.
  bool shared_reduce(const Expr& expr) const;
  std::string tile_count(const CudaStage& shape) const;
  void leave_out(const std::string& outside, const std::string& instead);
  void find_in_rows(const CudaStage& shape, const std::string& slot);
  void find_in_part(const CudaStage& shape, const std::string& slot);
  void bind_coordinates(const std::string& element);
  void stores();
  void stores_of_team();

  CudaStage contraction();    // tile.cpp
  CudaStage outer_product();  // outer.cpp
  void print_product(const OuterProduct& parts, const std::string& first, const std::string& step);

  CudaStage library_stage();  // library_calls.cpp
  CudaStage library_contraction();
  CudaStage library_outer_product();

  // Expressions (expr.cpp): the text of an operand, after whatever lines it needs.
  std::string value(ExprId id);
  std::string compute(ExprId id);
  std::string scalar(const Expr& expr);
  std::string integer(ExprId id, const Expr& expr);
  void reduce(ExprId id);
  /// Accumulates terms begin, begin + step, … < end of a reduction in the variable `result`.
  void reduce_loop(const Expr& expr, const std::string& result, const std::string& begin,
                   const std::string& end, const std::string& step);
  std::string_view index_type(const Expr& reduction) const;
  std::string element(BufferId buffer, ExprId address);
  bool is_wide(ExprId id) const;
  bool is_wide_variable(VarId variable) const;
  void hoist(const std::vector<ExprId>& roots);
  void hoist(ExprId id, std::vector<bool>& seen);
  void bind(VarId variable) { bound_.insert(variable); }
  void remember(ExprId id, std::string text);

  const Kernel& kernel_;
  const Stage& stage_;
  const StageAnalysis analysis_;
  std::string& text_;
  const StageForm form_;
  int indent_ = 1;
  std::vector<ExprId> roots_;  // addresses and values of the stores
  std::vector<std::int64_t> variable_bounds_;
  VariableSet bound_;
  std::vector<std::string> values_;  // by ExprId; empty until printed in this scope
  std::vector<ExprId> undo_;
  CudaTeam team_;
  bool in_reduce_ = false;
};

/// Prints a stage as a function of that name, and says how to launch it.
CudaStage print_stage(const Kernel& kernel, std::size_t number, std::string_view name,
                      StageForm form, std::string& text);
/// Prints the stage that is `first`, and with it those that are joined to it.
CudaStage print_launched(const Kernel& kernel, std::size_t first, std::string_view name,
                         StageForm form, std::string& text);

/// The type by which a walker computes a contraction with weights that blocks hold.
std::string print_held(const Kernel& kernel, const Stage& stage);

}  // namespace espalier::codegen
