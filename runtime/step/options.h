// What a user decides when an engine is made.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "ir/record/instances.h"

namespace espalier {

namespace scheduler {
class Strategy;
}

enum class Device : std::uint8_t {
  cpu,
  cuda,       ///< a UserError where no GPU can be used
  automatic,  ///< cuda where it can be used, else cpu
};

/// Whether one kernel walks through many launches on a GPU; no choice changes a result.
enum class Persistent : std::uint8_t {
  automatic,  ///< where that is expected to take less time
  on,         ///< always, where the GPU can
  off,
};

/// Debug switches; none changes a result.
struct DebugOptions {
  /// After each batch, stop at the first NaN or Inf with a UserError that names cell, op, example.
  bool check_finite = false;
  /// On a GPU, wait for each launch, so that an error names the kernel that made it.
  bool check_launches = false;
  /// On a GPU, replay sequences of launches that ran before as one CUDA graph.
  bool cuda_graphs = true;
  /// On a GPU, choose what is walked by these constants (`to_text` in runtime/cuda/walk_cost.h)
  /// instead of measured ones.
  std::string walk_costs = {};
  /// Check what must hold of graphs, schedules, layouts and kernels (on by default in builds with
  /// ESPALIER_VERIFY).
#ifdef ESPALIER_VERIFY
  bool verify = true;
#else
  bool verify = false;
#endif
};

/// Who multiplies matrices on a GPU.
enum class Contractions : std::uint8_t {
  automatic,  ///< whichever was faster in a trial, which runs once per shape
  tile,       ///< generated kernels
  cublas,     ///< cuBLAS; a UserError where there is none
};

/// What cuBLAS rounds the operands of contractions to; sums are in single precision. Anything but
/// `single` needs cuBLAS.
enum class Precision : std::uint8_t {
  single,
  tf32,  ///< 11 significant bits
  bf16,  ///< 8 significant bits
};

struct EngineOptions {
  Device device = Device::cpu;
  std::string strategy = "phase";  ///< a name of scheduler::strategies()
  /// A strategy of your own: derive from scheduler::Strategy (scheduler/strategy.h) and give an
  /// object here; `strategy` is then ignored. Engines that share it must not run at the same time.
  std::shared_ptr<const scheduler::Strategy> custom_strategy = nullptr;
  ir::Granularity granularity = ir::Granularity::cell;
  /// Equal calls without randomness (the same word's leaf, the same subtree) are computed once per
  /// minibatch; outputs have the same bits.
  bool share = true;
  /// What a recurrent cell computes from its indices alone runs as one batch (ir/passes/hoist.h).
  /// Like the model itself, this decides in which order sums are formed.
  bool hoist = true;
  int threads = 1;         ///< 0: as many as the machine has cores
  std::uint64_t seed = 0;  ///< of initial values and dropout
  /// "avx512", "avx2", "portable", of a GPU "sm_90"; empty: the widest the host runs, or the GPU's.
  std::string target = {};
  /// Where compiled kernels are kept between runs; default_cache_directory() is the usual
  /// place, empty keeps none.
  std::filesystem::path cache_directory = {};
  Contractions contractions = Contractions::automatic;  ///< on a GPU
  Precision precision = Precision::single;              ///< on a GPU
  /// Bytes that the engine may hold, counted as StepStatistics::peak_bytes; 0: no limit. Recorded
  /// calls count. Room is kept for as many as Engine::recorded_enough allows; more may exceed the
  /// limit before the engine is asked to run them.
  std::int64_t memory_limit = 0;
  Persistent persistent = Persistent::automatic;
  DebugOptions debug = {};
};

/// What a minibatch is run for.
enum class Mode : std::uint8_t {
  training,   ///< dropout draws, values for the backward direction are kept
  inference,  ///< dropout is off, nothing is kept
};

}  // namespace espalier
