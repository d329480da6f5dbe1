// Emission of contractions: a register tile of rows × weight vectors walks k; then the stage's
// stores run over the tile. Rows are read by pointer, so that scattered ones cost nothing.
#include <llvm/IR/Function.h>

#include "codegen/cpu/emitter.h"
#include "codegen/kernel/tiling.h"

namespace espalier::codegen {

struct Emitter::Tile {
  int vectors;    ///< of all gates
  Value* memory;  ///< [rows, gates, lanes] accumulators, for the epilogue
};

Value* Emitter::float_at(Value* pointer, Value* index) {
  return b_.CreateGEP(b_.getFloatTy(), pointer, index);
}

std::vector<Value*> Emitter::tile_step(std::span<Value* const> scalars,
                                       std::span<Value* const> vectors,
                                       std::span<Value* const> accumulators) {
  std::vector<Value*> next;
  for (std::size_t r = 0; r < scalars.size(); ++r) {
    Value* x = b_.CreateVectorSplat(target_.width, scalars[r]);
    for (std::size_t v = 0; v < vectors.size(); ++v)
      next.push_back(emit_fma(b_, target_, x, vectors[v], accumulators[r * vectors.size() + v]));
  }
  return next;
}

/// Computes and leaves in memory the accumulators of `rows` rows. `weights` is the panel.
void Emitter::emit_tile(const Tile& tile, int rows, Value* first_row, Value* weights) {
  const llvm::Align vector_align(4 * target_.width);
  llvm::Type* vector_type = floats(target_.width);
  std::vector<Value*> sums(static_cast<std::size_t>(rows) * tile.vectors,
                           llvm::Constant::getNullValue(vector_type));
  for (const Contraction::Term& term : stage_.contraction->terms) {
    std::vector<Value*> x;
    for (int r = 0; r < rows; ++r) {
      const Scope scope(*this);
      bind(stage_.row, b_.CreateAdd(first_row, i64(r)));
      x.push_back(element_address(term.x, b_.getFloatTy(), value(term.address)));
    }
    const std::int64_t row_floats = std::int64_t{tile.vectors} * target_.width;
    Value* panel = float_at(weights, i64(term.k_begin * row_floats));
    const auto step = [&](Value* k, std::span<Value* const> accumulators) {
      std::vector<Value*> loaded, scalars;
      Value* row = float_at(panel, b_.CreateMul(k, i64(row_floats)));
      for (int v = 0; v < tile.vectors; ++v)
        loaded.push_back(b_.CreateAlignedLoad(
            vector_type, float_at(row, i64(std::int64_t{v} * target_.width)), vector_align));
      for (Value* pointer : x)
        scalars.push_back(b_.CreateLoad(b_.getFloatTy(), float_at(pointer, k)));
      return tile_step(scalars, loaded, accumulators);
    };
    sums = loop(i64(0), i64(term.k_length), 1, sums, step);
  }
  for (std::size_t i = 0; i < sums.size(); ++i)
    b_.CreateAlignedStore(sums[i], float_at(tile.memory, i64(i * target_.width)), vector_align);
}

/// A function that runs all stores for the rows of a tile that lies in memory. As part of the
/// stage's own function, its constants would be kept in registers that the tiles need.
void Emitter::emit_contraction_epilogue() {
  const Packing& packing = kernel_.packings[stage_.contraction->packing];
  const int vectors = packing.lanes / target_.width;
  const std::int64_t extent = stage_.extents[0];
  Value *memory = function_->getArg(1), *rows = function_->getArg(2);
  Value *first_row = function_->getArg(3), *panel = function_->getArg(4);
  hoist(roots_);
  Value* begin = b_.CreateMul(panel, i64(vectors));
  Value* last = i64((extent + target_.width - 1) / target_.width);
  Value* end = least(b_.CreateAdd(begin, i64(vectors)), last);
  tile_lane_ = b_.CreateMul(panel, i64(packing.lanes));
  loop(i64(0), rows, 1, [&](Value* r) {
    bind(stage_.row, b_.CreateAdd(first_row, r));
    const std::int64_t row_floats = std::int64_t{packing.gates} * packing.lanes;
    tile_row_ = float_at(memory, b_.CreateMul(r, i64(row_floats)));
    chunks(target_.width, begin, end, [&] { stores(); });
  });
  b_.CreateRetVoid();
}

void Emitter::emit_contraction(llvm::Function* epilogue) {
  const Packing& packing = kernel_.packings[stage_.contraction->packing];
  const TileShape shape = contraction_tile(kernel_, stage_, target_);
  const int vectors = packing.gates * shape.vectors;
  const Tile tile{vectors, stack_floats(std::int64_t{shape.rows} * vectors * target_.width)};
  for (const Contraction::Term& term : stage_.contraction->terms) hoist({term.address});
  Value *row_end = function_->getArg(2), *weights = buffer(stage_.contraction->weights);
  loop(function_->getArg(3), function_->getArg(4), 1, [&](Value* panel) {
    const std::int64_t panel_floats = packing.k * packing.gates * packing.lanes;
    Value* panel_weights = float_at(weights, b_.CreateMul(panel, i64(panel_floats)));
    loop(function_->getArg(1), row_end, shape.rows, [&](Value* row) {
      // A tile for every number of rows: the last one takes no more time than it has rows.
      Value* rows = least(b_.CreateSub(row_end, row), i64(shape.rows));
      llvm::BasicBlock* after = block("tile_done");
      llvm::SwitchInst* choice = nullptr;
      for (int count = shape.rows; count >= 1; --count) {
        llvm::BasicBlock* variant = block("tile");
        if (choice)
          choice->addCase(b_.getInt64(count), variant);
        else
          choice = b_.CreateSwitch(rows, variant, shape.rows);
        b_.SetInsertPoint(variant);
        {
          const Scope scope(*this);
          emit_tile(tile, count, row, panel_weights);
        }
        b_.CreateBr(after);
      }
      b_.SetInsertPoint(after);
      b_.CreateCall(epilogue, {function_->getArg(0), tile.memory, rows, row, panel});
    });
  });
  b_.CreateRetVoid();
}

}  // namespace espalier::codegen
