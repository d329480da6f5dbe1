// LLVM IR for one stage: expressions, loops, tiles. Internal to codegen/cpu: the only header
// with LLVM in it, and not installed. Vectors are explicit: while a lane variable is set, what
// depends on it is a vector of one value a lane, anything else a scalar. A value is emitted once a
// scope and, by hoist(), outside every loop on which it does not depend: LLVM could not move loads
// across the stores.
#pragma once

#include <llvm/IR/IRBuilder.h>

#include <functional>
#include <span>
#include <vector>

#include "codegen/kernel/analysis.h"
#include "codegen/kernel/kernel.h"
#include "codegen/kernel/target.h"

namespace espalier::codegen {

using Builder = llvm::IRBuilder<>;
using llvm::Value;

// math.cpp: on floats or vectors of floats, at most 4 ulp off; the same bits at every width.
Value* emit_exp(Builder& b, const Target& target, Value* x);
Value* emit_log(Builder& b, const Target& target, Value* x);
Value* emit_tanh(Builder& b, const Target& target, Value* x);
/// x · y + z: in one rounding if the target has the instruction, else in two.
Value* emit_fma(Builder& b, const Target& target, Value* x, Value* y, Value* z);
/// random_uniform on i32 values or vectors: the halves of the key, the mask, the counter.
Value* emit_random(Builder& b, Value* low, Value* high, std::uint32_t mask, Value* counter);

/// Lanes of a vector; 1 for a scalar.
int width_of(Value* x);

/// The loop variable that lies across the lanes of vectors.
struct Lanes {
  VarId variable = -1;  ///< bound to the value of lane 0; -1 if there are no vectors
  int width = 1;
  Value* mask = nullptr;  ///< <width x i1>: lanes that exist; null for all
};

class Emitter {
 public:
  /// The first argument of `function` is the table of buffers; unless it is an epilogue, it has the
  /// signature of StageFunction.
  Emitter(const Kernel& kernel, const Stage& stage, const Target& target, llvm::Function* function);

  /// A stage that is neither a contraction nor an outer product (emit.cpp).
  void emit_map();
  /// tile.cpp. The epilogue is a function of its own, with a tile for arguments: the buffers,
  /// the tile's accumulators, rows, first row and panel.
  void emit_contraction(llvm::Function* epilogue);
  void emit_contraction_epilogue();
  /// outer.cpp
  void emit_outer_product();

 private:
  using Body = std::function<void(Value* index)>;
  using Accumulate =
      std::function<std::vector<Value*>(Value* index, std::span<Value* const> accumulators)>;

  /// Until it ends, what is emitted and bound belongs to the loop body or branch at hand.
  class Scope {
   public:
    explicit Scope(Emitter& emitter);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Emitter& e_;
    std::size_t undo_;
    VariableSet bound_;
    Lanes lanes_;
  };

  // Control flow (emit.cpp). A loop's body has a Scope of its own.
  void loop(Value* begin, Value* end, std::int64_t step, const Body& body);
  /// With values carried from turn to turn, from `initial` on; gives the last ones.
  std::vector<Value*> loop(Value* begin, Value* end, std::int64_t step, std::vector<Value*> initial,
                           const Accumulate& body);
  void branch(Value* condition, const std::function<void()>& body);
  llvm::BasicBlock* block(const char* name);
  /// Where the buffer begins; loaded at the entry of the function that first asks.
  Value* buffer(BufferId id);
  /// Before a loop: emits here what the roots need that depends on none of the loop's variables.
  void hoist(const std::vector<ExprId>& roots);
  void bind(VarId variable, Value* value);

  // Stages (emit.cpp).
  void domain(std::size_t axis);
  /// Chunks [begin, end) of the last axis, each a vector; chunk extent / width is the rest.
  void chunks(int width, Value* begin, Value* end, const std::function<void()>& body);
  void stores();

  // Expressions (expr.cpp).
  Value* value(ExprId id);   ///< vector of the lanes if it depends on their variable, else scalar
  Value* base(ExprId id);    ///< the integer expression at lane 0
  Value* vector(ExprId id);  ///< value, spread over the lanes if it is a scalar
  Value* compute(ExprId id);
  Value* compute_lanes(ExprId id);
  Value* scalar_op(const Expr& expr);
  Value* math(ir::Opcode opcode, Value* x);
  Value* condition(ExprId id, bool lanes);
  Value* load(const Expr& expr, llvm::Type* element);
  /// Consecutive elements; those outside the mask are 0. A null mask is all.
  Value* load_vector(llvm::Type* type, Value* first, Value* mask);
  Value* random(const Expr& expr);
  Value* reduce(ExprId id);  // reduce.cpp, as are the next five
  Value* narrow(Value* sum);
  Value* reduce_step(const Expr& expr, Value* accumulator);
  Value* reduce_over_lanes(const Expr& expr);
  Value* combine(Reduction reduction, Value* a, Value* b);
  Value* identity(Reduction reduction, int width);
  void store(const Store& store);
  void hoist(ExprId id, std::vector<bool>& seen);
  /// What a reduction evaluates for each element.
  static std::vector<ExprId> reduced(const Expr& expr);

  void remember(std::vector<Value*>& memo, ExprId id, Value* value);
  bool in_lanes(ExprId id) const {
    return lanes_.variable >= 0 && analysis_.depends(id, lanes_.variable);
  }
  /// Makes `variable` the lanes' variable, bound to `base` in lane 0, until the scope ends.
  void set_lanes(VarId variable, int width, Value* base, Value* mask);
  Value* spread(Value* x, int width);
  Value* element_address(BufferId buffer, llvm::Type* element, Value* index);
  /// Integers in lanes are 32 bits wide where their bound allows.
  llvm::Type* lane_integer(ExprId id);
  Value* first_lanes(Value* count, int width);
  Value* iota(llvm::Type* element, int width, std::int64_t stride);
  llvm::Type* floats(int width);
  Value* i64(std::int64_t value) { return b_.getInt64(value); }
  Value* least(Value* a, Value* b);
  llvm::AllocaInst* stack_floats(std::int64_t count);

  // Contractions (tile.cpp).
  struct Tile;
  void emit_tile(const Tile& tile, int rows, Value* first_row, Value* weights);
  /// One step of a register tile: accumulator (r, v) += scalar r · vector v.
  std::vector<Value*> tile_step(std::span<Value* const> scalars, std::span<Value* const> vectors,
                                std::span<Value* const> accumulators);
  Value* float_at(Value* pointer, Value* index);

  // Products of an instance's own (chain.cpp).
  struct ChainTile;
  std::vector<ExprId> chains() const;
  void emit_chains();
  void chain_tile(const ChainTile& tile, int rows, int columns);
  void chain_stores(const ChainTile& tile, Value* rows);

  // Outer products (outer.cpp).
  struct Product;
  void product_rows(const Product& product, Value* column, int lanes);
  void outer_product_tile(const Product& product, Value* row, int rows, Value* column, int lanes);
  void product_epilogue(const Product& product, Value* rows);

  const Kernel& kernel_;
  const Stage& stage_;
  const Target& target_;
  const StageAnalysis analysis_;
  llvm::Function* function_;
  Builder b_;
  std::vector<Value*> buffers_;  // null until asked for
  std::vector<ExprId> roots_;    // addresses and values of the stores
  std::vector<ExprId> chains_;   // of a stage that is emitted in tiles of them
  bool calls_math_ = false;      // exp, log and tanh are functions

  std::vector<Value*> variables_;
  VariableSet bound_;
  Lanes lanes_;
  std::vector<std::optional<std::int64_t>> strides_;  // in the lanes' variable
  VarId strides_of_ = -1;
  std::vector<Value*> values_, bases_;  // by ExprId; null until emitted in this scope
  std::vector<std::pair<std::vector<Value*>*, ExprId>> undo_;  // what the scopes added

  // While the epilogue of a tile is emitted: the accumulators of its row from the panel's first
  // lane on, and that lane.
  Value* tile_row_ = nullptr;
  Value* tile_lane_ = nullptr;
};

}  // namespace espalier::codegen
