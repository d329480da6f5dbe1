// What a user decides when an engine is made, and what a step reports.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "ir/record/recorder.h"

namespace espalier {

enum class Device : std::uint8_t {
  cpu,
  cuda,       ///< a UserError where no GPU can be used
  automatic,  ///< cuda where it can be used, else cpu
};

/// Whether one kernel walks through many launches on a GPU; no choice changes a result.
enum class Persistent : std::uint8_t {
  automatic,  ///< where that is predicted to take less time
  on,         ///< always, where the GPU can
  off,
};

/// Debug switches; none changes a result.
struct DebugOptions {
  /// After each batch, stop at the first NaN or Inf with a UserError that names cell, op, example.
  bool check_finite = false;
  /// On a GPU, wait for each launch, so that an error names the kernel that made it.
  bool check_launches = false;
  /// On a GPU, sequences of launches that ran before are replayed as one.
  bool cuda_graphs = true;
  /// On a GPU, choose what is walked by these constants (to_text in runtime/cuda/walk_cost.h)
  /// instead of measured ones.
  std::string walk_costs = {};
  /// Check the invariants of every border (on by default where built with ESPALIER_VERIFY).
#ifdef ESPALIER_VERIFY
  bool verify = true;
#else
  bool verify = false;
#endif
};

/// Who multiplies matrices on a GPU.
enum class Contractions : std::uint8_t {
  automatic,  ///< whichever was faster in a trial, once a shape
  tile,       ///< kernels of our own
  cublas,     ///< cuBLAS; a UserError where there is none
};

/// What cuBLAS rounds the factors of products to; sums are in single precision. Anything but
/// `single` needs cuBLAS.
enum class Precision : std::uint8_t {
  single,
  tf32,  ///< 11 significant bits
  bf16,  ///< 8 significant bits
};

struct EngineOptions {
  Device device = Device::cpu;
  std::string strategy = "phase";
  ir::Granularity granularity = ir::Granularity::cell;
  /// Equal calls without randomness (the same word's leaf, the same subtree) are computed once per
  /// minibatch; outputs have the same bits.
  bool share = true;
  /// What a recurrent cell computes from its indices alone runs as one batch (ir/passes/hoist.h).
  /// Decides in which order sums are formed, as models do.
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
  /// Bytes that the engine may hold, counted as StepStatistics::peak_bytes; 0: as many as it takes.
  /// Recorded calls count. Room is kept for as many as Engine::recorded_enough tells; more may
  /// exceed the limit before the engine is asked to run them.
  std::int64_t memory_limit = 0;
  Persistent persistent = Persistent::automatic;
  DebugOptions debug = {};
};

/// What a minibatch is run for.
enum class Mode : std::uint8_t {
  training,   ///< dropout draws, values for the backward pass are kept
  inference,  ///< dropout is off, nothing is kept
};

/// Measured for one minibatch, from the first recorded call on.
struct StepStatistics {
  std::size_t calls = 0;      ///< as recorded
  std::size_t instances = 0;  ///< as run: fewer with sharing, more with hoisting or op by op
  std::size_t batches = 0;
  std::size_t launches = 0;  ///< of kernel stages, forward, backward and weight gradients
  /// To a device, of all that a step does: a replayed sequence counts as one. 0 on the CPU.
  std::size_t device_launches = 0;
  std::size_t device_copies = 0;   ///< of arrays to a device
  std::size_t device_replays = 0;  ///< of the device's launches, those of a captured graph
  /// Of the device's launches, those that walked; the launches that these stand for; and how often
  /// all blocks met in them.
  std::size_t device_walks = 0, walked_launches = 0, grid_barriers = 0;
  std::size_t device_contractions = 0;  ///< of the launches, those that a library did
  double schedule_seconds = 0, layout_seconds = 0, plan_seconds = 0;
  double forward_seconds = 0, backward_seconds = 0, update_seconds = 0;
  /// Of the host, for sending off what was noted down for a device, and for waiting until that is
  /// done. 0 on the CPU.
  double submit_seconds = 0, wait_seconds = 0;
  std::int64_t allocations = 0;   ///< buffers that grew
  std::int64_t compilations = 0;  ///< kernels that were compiled or loaded from disk
  /// That the minibatch ran in to keep to a memory limit. 1: it was not split, also if values were
  /// asked for while it was recorded; 0: nothing has run.
  int parts = 0;
  /// By the engine's buffers and index arrays, at the end of the step; the optimizer's state and
  /// kernels are not counted. On a GPU: of its memory, with the optimizer's state and what cuBLAS
  /// works in.
  std::int64_t bytes_held = 0;
  std::int64_t peak_bytes = 0;  ///< the most ever held by the engine
};

struct StepResult {
  double loss = 0;           ///< Σ losses × scale
  double gradient_norm = 0;  ///< over all params, of the scaled objective
  StepStatistics statistics;
};

}  // namespace espalier
