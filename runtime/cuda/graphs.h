// The CUDA graphs of sequences of launches that have run before, so that a sequence that comes
// again is one launch. Owned by the launcher, which captures them. At most a fixed number is kept;
// the one that was used least recently goes first.
#pragma once

#include <cstdint>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "runtime/cuda/driver.h"

namespace espalier::runtime {

/// What a graph bakes in: sequences that compare equal can be replayed by the same graph.
struct LaunchSequence {
  std::size_t first_record = 0;  ///< place of the first launch's record on the device
  /// For each launch: its kernel or library call, the stage, and the number of blocks.
  std::vector<std::tuple<const void*, int, unsigned>> launches;
  bool operator==(const LaunchSequence&) const = default;
};

class CudaGraphs {
 public:
  using Graph = CudaOwner<CUgraphExec>;

  /// Null the first time that this sequence is asked for; from then on its graph, which is empty
  /// until the caller captures it. Valid until the next call.
  Graph* find_or_note(const LaunchSequence& sequence);
  /// Whether find_or_note would return a graph.
  bool contains(const LaunchSequence& sequence) const { return graphs_.contains(sequence); }
  void clear() { graphs_.clear(); }

 private:
  struct Entry {
    Graph graph;
    std::uint64_t last_used = 0;
  };
  struct Hash {
    std::size_t operator()(const LaunchSequence& sequence) const;
  };

  std::unordered_map<LaunchSequence, Entry, Hash> graphs_;
  std::uint64_t clock_ = 0;
};

}  // namespace espalier::runtime
