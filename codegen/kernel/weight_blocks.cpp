// The weights of a contraction as blocks of params: transposes, slices, reshapes and joins are
// absorbed by the packing, so that no kernel ever sees them.
#include <algorithm>

#include "codegen/kernel/stage_plan.h"
#include "ir/op.h"

namespace espalier::codegen {
namespace {

using Block = Packing::Block;

bool append_blocks(const ir::Graph& graph, ir::NodeId id, std::vector<Block>& blocks) {
  const ir::Node& node = graph[id];
  const std::string_view name = node.op->name;
  const ir::Shape& shape = node.type.shape;
  if (shape.rank() != 2) return false;
  const auto whole = [&](const ir::Node& param) {
    blocks.push_back({param.attributes.ints[0], false, shape[1], 0, 0, 0, 0, shape[0], shape[1]});
    return true;
  };
  if (name == "param") return whole(node);
  if (name == "reshape") {
    const ir::Node& source = graph[node.operands[0]];
    return source.op->name == "param" && whole(source);
  }
  if (name == "transpose") {
    std::vector<Block> parts;
    if (!append_blocks(graph, node.operands[0], parts)) return false;
    for (Block block : parts) {
      block.transposed = !block.transposed;
      std::swap(block.row, block.column);
      std::swap(block.rows, block.columns);
      blocks.push_back(block);
    }
    return true;
  }
  if (name == "concat") {
    const bool down = node.attributes.ints[0] == 0;
    int position = 0;
    for (ir::NodeId part : node.operands) {
      std::vector<Block> parts;
      if (!append_blocks(graph, part, parts)) return false;
      for (Block block : parts) {
        (down ? block.row : block.column) += position;
        blocks.push_back(block);
      }
      position += graph[part].type.shape[down ? 0 : 1];
    }
    return true;
  }
  if (name == "slice") {
    std::vector<Block> parts;
    if (!append_blocks(graph, node.operands[0], parts)) return false;
    const bool down = node.attributes.ints[0] == 0;
    const int begin = node.attributes.ints[1], end = begin + shape[down ? 0 : 1];
    for (Block block : parts) {
      auto& position = down ? block.row : block.column;
      auto& extent = down ? block.rows : block.columns;
      // Moving down the matrix moves down the param, or right if it lies transposed.
      auto& origin = down != block.transposed ? block.param_row : block.param_column;
      const int low = std::max(begin, position), high = std::min(end, position + extent);
      if (low >= high) continue;
      origin += low - position;
      position = low - begin;
      extent = high - low;
      blocks.push_back(block);
    }
    return true;
  }
  return false;
}

}  // namespace

std::optional<std::vector<Block>> weight_blocks(const ir::Graph& graph, ir::NodeId weights) {
  std::vector<Block> blocks;
  if (!append_blocks(graph, weights, blocks)) return std::nullopt;
  return blocks;
}

}  // namespace espalier::codegen
