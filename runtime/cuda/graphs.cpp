#include "runtime/cuda/graphs.h"

#include <algorithm>

namespace espalier::runtime {
namespace {

constexpr std::size_t most_graphs = 256;

}  // namespace

CudaGraphs::Graph* CudaGraphs::find_or_note(const LaunchSequence& sequence) {
  const auto found = graphs_.find(sequence);
  if (found != graphs_.end()) {
    found->second.last_used = ++clock_;
    return &found->second.graph;
  }
  if (graphs_.size() >= most_graphs)
    graphs_.erase(std::ranges::min_element(
        graphs_, {}, [](const auto& entry) { return entry.second.last_used; }));
  graphs_[sequence].last_used = ++clock_;
  return nullptr;
}

std::size_t CudaGraphs::Hash::operator()(const LaunchSequence& sequence) const {
  std::size_t hash = sequence.first_record;
  for (const auto& [code, stage, grid] : sequence.launches)
    hash = (hash ^ reinterpret_cast<std::size_t>(code) ^ (std::size_t(stage) << 32) ^ grid) *
           0x9e3779b97f4a7c15;
  return hash;
}

}  // namespace espalier::runtime
