// What a step reports: the loss, the norm of the gradients, counts and times, and, if the engine
// was asked to profile, the time of every launch. Filled by the engine; read by its users.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace espalier {

/// Of one minibatch, from its first recorded call on.
struct StepStatistics {
  std::size_t calls = 0;      ///< as recorded
  std::size_t instances = 0;  ///< as run: fewer with sharing, more with hoisting or op by op
  std::size_t batches = 0;
  std::size_t launches = 0;  ///< of kernel stages, forward, backward and weight gradients

  // On a device; 0 on the CPU.
  std::size_t device_launches = 0;  ///< of everything in the step; a replayed graph counts as one
  std::size_t device_copies = 0;    ///< of arrays to the device
  std::size_t device_replays = 0;   ///< of the device's launches: replays of a captured graph
  std::size_t device_walks = 0;     ///< of the device's launches: persistent kernels
  std::size_t walked_launches = 0;  ///< that the persistent kernels stand for
  std::size_t grid_barriers = 0;    ///< in the persistent kernels
  std::size_t device_contractions = 0;  ///< of the launches: by a library
  double submit_seconds = 0;            ///< host time for sending work to the device
  double wait_seconds = 0;              ///< host time waiting for the device

  double schedule_seconds = 0, layout_seconds = 0, plan_seconds = 0;
  double forward_seconds = 0, backward_seconds = 0, update_seconds = 0;
  std::int64_t allocations = 0;   ///< buffers that grew
  std::int64_t compilations = 0;  ///< kernels that were compiled or loaded from disk
  /// Parts that the minibatch was split into to keep to a memory limit. 1: it was not split; 0:
  /// nothing has run.
  int parts = 0;
  /// Held by the engine's buffers and index arrays at the end of the step; the optimizer's state
  /// and kernels are not counted. On a GPU: held in its memory, including the optimizer's state and
  /// the workspace of cuBLAS.
  std::int64_t bytes_held = 0;
  std::int64_t peak_bytes = 0;  ///< the most that the engine ever held

  /// Sums counts and times; `bytes_held` and `peak_bytes` become those of `step`.
  StepStatistics& operator+=(const StepStatistics& step);
};

struct StepResult {
  double loss = 0;           ///< Σ losses × scale
  double gradient_norm = 0;  ///< Euclidean, over all params, of the scaled objective
  StepStatistics statistics;
};

/// One launch of a profiled step.
struct LaunchProfile {
  std::string_view kernel;  ///< `node.forward`; valid as long as the engine
  int stage = 0;            ///< of the kernel
  std::int64_t rows = 0;    ///< cell or child rows; 1 for a stage that runs once
  std::int64_t copied = 0;  ///< bytes moved without computing (codegen/kernel/copies.h)
  double seconds = 0;       ///< until all threads were done
};

}  // namespace espalier
