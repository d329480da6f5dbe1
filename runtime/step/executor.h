// Runs plans on one device and owns what that takes: threads, or a stream and staged copies. Made
// by the engine, used by it and by the device's Update and StepIo. An executor may put work off
// until a result is asked for; it never changes the order.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/step/cell_kernels.h"
#include "runtime/step/device_memory.h"
#include "runtime/step/plan.h"

namespace espalier::runtime {

/// What a step stages on a device: arrays that are copied there, and records of launches.
struct Staged {
  std::size_t bytes = 0, launches = 0;
  /// Counts an array; each begins at a multiple of 16 bytes.
  void add(std::size_t array) { bytes += (array + 15) / 16 * 16; }
  Staged& operator+=(const Staged& more) {
    bytes += more.bytes;
    launches += more.launches;
    return *this;
  }
};

/// Work sent to a device so far.
struct Traffic {
  std::size_t launches = 0, copies = 0, replays = 0;
  std::size_t walks = 0, walked_launches = 0, grid_barriers = 0, products = 0;
  double submit_seconds = 0, wait_seconds = 0;
};

class Executor {
 public:
  virtual ~Executor() = default;

  /// Where arenas, params and gradients lie; null for the host's memory.
  virtual DeviceMemory* memory() = 0;
  /// Free bytes of the device's memory; 0 if the device has no fixed limit.
  virtual std::int64_t free_bytes() = 0;
  /// The form in which the device runs kernels best; valid as long as the executor.
  virtual KernelForm form() { return {}; }

  /// Starts a new minibatch: arrays placed so far are no longer used. Makes room for `expected`.
  virtual void begin(const Staged& expected) = 0;
  /// Makes room for as much again as `expected`.
  virtual void reserve(const Staged& /*expected*/) {}
  /// By how much `bytes` will grow in begin(expected) or, if not `at_begin`, reserve(expected).
  virtual std::size_t growth(const Staged& /*expected*/, bool /*at_begin*/) const { return 0; }
  /// Where kernels find a copy of the bytes at `values`, until the next `begin`.
  virtual const void* place(const void* values, std::size_t bytes) = 0;

  /// Runs all launches in order; if `profile` is given, one by one, each described at its end.
  virtual void run(const Plan& plan, std::vector<LaunchProfile>* profile) = 0;
  /// Runs launches [begin, end) and waits for them.
  virtual void run_range(const Plan& plan, std::size_t begin, std::size_t end) = 0;

  virtual Traffic traffic() const { return {}; }
  /// Problems that did not stop the executor, each once.
  virtual std::span<const std::string> warnings() const { return {}; }
  /// Held by staged arrays and the workspaces of libraries, in the device's memory.
  virtual std::size_t bytes() const { return 0; }
};

}  // namespace espalier::runtime
