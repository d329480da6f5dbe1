#include "ir/record/index_bounds.h"

#include <map>

#include "ir/op.h"

namespace espalier::ir {

std::vector<IndexBound> index_bounds(const Program& program, const Cell& cell) {
  std::map<int, IndexBound> bounds;
  for (std::size_t port = 0; port < cell.ports.size(); ++port)
    if (cell.ports[port].kind == PortKind::index) bounds[static_cast<int>(port)] = {};
  const auto limit = [&](int port, std::int32_t rows, std::string of) {
    if (port < 0 || static_cast<std::uint32_t>(rows) >= bounds[port].rows) return;
    bounds[port] = {static_cast<std::uint32_t>(rows), std::move(of)};
  };
  for (const Node& node : cell.graph.nodes()) {
    if (node.op->takes_index) {
      const Node& table = cell.graph[node.operands[0]];
      const bool is_param = table.op->id == OpId::param;
      limit(index_port(cell.graph, node.operands[1]), table.type.shape[0],
            is_param ? "param '" + program.params[table.attributes.ints[0]].name + "'"
                     : "the tensor it chooses from");
    } else if (node.op->id == OpId::equal) {
      for (int side : {0, 1}) {
        const Node& iota = cell.graph[node.operands[side]];
        if (iota.op->id == OpId::iota)
          limit(index_port(cell.graph, node.operands[1 - side]), iota.type.shape[0],
                "the one-hot vector");
      }
    }
  }
  std::vector<IndexBound> result;
  for (auto& [port, bound] : bounds) result.push_back(std::move(bound));
  return result;
}

}  // namespace espalier::ir
