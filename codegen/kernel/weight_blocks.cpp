// The weights of a contraction as blocks of params: transposes, slices, reshapes and joins are
// absorbed by the packing and need no code in a kernel.
#include <algorithm>

#include "codegen/kernel/stage_plan.h"
#include "ir/op.h"

namespace espalier::codegen {
namespace {

using ir::OpId;
using Block = Packing::Block;

bool append_blocks(const ir::Graph& graph, ir::NodeId id, std::vector<Block>& blocks);

/// Appends the blocks of the node's first operand, each as `change` makes it; those of which it
/// leaves nothing are dropped.
template <class Change>
bool append_changed(const ir::Graph& graph, ir::NodeId id, std::vector<Block>& blocks,
                    const Change& change) {
  std::vector<Block> parts;
  if (!append_blocks(graph, id, parts)) return false;
  for (Block& block : parts)
    if (change(block)) blocks.push_back(block);
  return true;
}

bool append_blocks(const ir::Graph& graph, ir::NodeId id, std::vector<Block>& blocks) {
  const ir::Node& node = graph[id];
  const ir::Shape& shape = node.type.shape;
  if (shape.rank() != 2) return false;
  const auto whole = [&](const ir::Node& param) {
    blocks.push_back({param.attributes.ints[0], false, shape[1], 0, 0, 0, 0, shape[0], shape[1]});
    return true;
  };
  switch (node.op->id) {
    case OpId::param:
      return whole(node);
    case OpId::reshape: {
      const ir::Node& source = graph[node.operands[0]];
      return source.op->id == OpId::param && whole(source);
    }
    case OpId::transpose:
      return append_changed(graph, node.operands[0], blocks, [](Block& block) {
        block.transposed = !block.transposed;
        std::swap(block.row, block.column);
        std::swap(block.rows, block.columns);
        return true;
      });
    case OpId::concat: {
      const bool down = node.attributes.ints[0] == 0;
      int position = 0;
      for (ir::NodeId part : node.operands) {
        const auto move = [&](Block& block) {
          (down ? block.row : block.column) += position;
          return true;
        };
        if (!append_changed(graph, part, blocks, move)) return false;
        position += graph[part].type.shape[down ? 0 : 1];
      }
      return true;
    }
    case OpId::slice: {
      const bool down = node.attributes.ints[0] == 0;
      const int begin = node.attributes.ints[1], end = begin + shape[down ? 0 : 1];
      return append_changed(graph, node.operands[0], blocks, [&](Block& block) {
        auto& position = down ? block.row : block.column;
        auto& extent = down ? block.rows : block.columns;
        // Moving down the matrix moves down the param, or right if it lies transposed.
        auto& origin = down != block.transposed ? block.param_row : block.param_column;
        const int low = std::max(begin, position), high = std::min(end, position + extent);
        if (low >= high) return false;
        origin += low - position;
        position = low - begin;
        extent = high - low;
        return true;
      });
    }
    default:
      return false;
  }
}

}  // namespace

std::optional<std::vector<Block>> weight_blocks(const ir::Graph& graph, ir::NodeId weights) {
  std::vector<Block> blocks;
  if (!append_blocks(graph, weights, blocks)) return std::nullopt;
  return blocks;
}

}  // namespace espalier::codegen
