// The executor walks plans on one device, owns what is needed for that (threads, or streams and
// staged copies), and does all else of a step that happens where the numbers lie: packing, seeds,
// losses, the gradients of embeddings, the norm, the updates. Made and called by the engine only.
// An executor may put work off until a result is asked for; it never changes the order.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/step/cell_kernels.h"
#include "runtime/step/device_memory.h"
#include "runtime/step/optimizer.h"
#include "runtime/step/placement.h"
#include "runtime/step/plan.h"

namespace espalier::runtime {

struct Memory;
class ParamStore;

/// What a minibatch places on a device: arrays, and records of launches.
struct Staged {
  std::size_t bytes = 0, launches = 0;
  /// Counts an array; each begins at 16 bytes.
  void add(std::size_t array) { bytes += (array + 15) / 16 * 16; }
};

class Executor {
 public:
  virtual ~Executor() = default;

  /// Where arenas, params and gradients lie; null for the host's memory.
  virtual DeviceMemory* memory() = 0;
  /// Of the device's memory; 0 if nobody keeps to what there is.
  virtual std::int64_t free_bytes() = 0;
  /// The kernel in the form in which the device runs it best.
  virtual codegen::Kernel form(codegen::Kernel kernel) { return kernel; }
  /// What was placed so far is not bound into plans any more; there will be room for `expected`.
  virtual void begin(const Staged& expected) = 0;
  /// Room for so much more.
  virtual void reserve(const Staged&) {}
  /// What the executor places by itself, at the most, in a pass over what is placed.
  virtual Staged staged(const Memory&, const CellKernels&, Placement&, bool /*gradients*/,
                        bool /*accumulates*/) {
    return {};
  }
  /// By how much `bytes` will grow in begin(expected), or else in reserve(expected).
  virtual std::size_t growth(const Staged& /*expected*/, bool /*at_begin*/) const { return 0; }
  /// Where kernels find a copy of the bytes at `values`, until `begin`.
  virtual const void* place(const void* values, std::size_t bytes) = 0;

  /// Writes the rows of inputs in the placed batches from `first` on.
  virtual void write_inputs(const Memory& memory, Placement& placement, std::size_t first) = 0;

  /// Runs all launches in order; if `profile` is given, one by one, each described at its end.
  virtual void run(const Plan& plan, std::vector<LaunchProfile>* profile) = 0;
  /// Runs launches [begin, end) and waits for them.
  virtual void run_part(const Plan& plan, std::size_t begin, std::size_t end) = 0;
  /// Renews the packed copies of params that changed.
  virtual void repack(ParamStore& param_store) = 0;

  /// The gradient of each placed loss is `scale`.
  virtual void seed_losses(const Memory& memory, Placement& placement, float scale) = 0;
  /// Makes room for so many losses.
  virtual void reserve_losses(std::size_t) {}
  /// Forgets the losses gathered so far: the next sum begins with `sum`.
  virtual void begin_losses(double sum) = 0;
  /// The placed losses count in the next take_loss.
  virtual void gather_losses(const Memory& memory, Placement& placement) = 0;
  /// The sum of all losses gathered since they began, one after the other, in double.
  virtual double take_loss() = 0;

  /// Sums the row contributions of all cells into gradients of params, and measures the norm.
  /// Dense gradients nobody writes become 0. If `accumulates`, all comes on top of what was
  /// collected before.
  virtual void collect(const Memory& memory, const CellKernels& kernels, bool accumulates) = 0;
  /// Makes the dense gradients that `collect` needs.
  virtual void make_gradients(const Memory& memory, const CellKernels& kernels) = 0;
  /// The same, and gives the bytes that `collect` will add.
  virtual std::size_t prepare(const Memory& memory, const CellKernels& kernels,
                              bool accumulates) = 0;
  /// Before a step: makes room for the optimizer's state where it is kept, if that is here.
  virtual void adopt(Optimizer&) {}
  /// Updates all params by what was collected.
  virtual void apply(ParamStore& param_store, Optimizer& optimizer) = 0;
  /// Euclidean norm of all that was collected.
  virtual double norm() = 0;
  virtual std::vector<float> dense_gradient(ParamStore& param_store, ir::ParamId param) = 0;

  /// What went to a device so far.
  struct Traffic {
    std::size_t launches = 0, copies = 0, replays = 0;
    std::size_t walks = 0, walked_launches = 0, grid_barriers = 0, products = 0;
    double submit_seconds = 0, wait_seconds = 0;
  };
  virtual Traffic traffic() const { return {}; }

  /// What it goes on without, each said once.
  virtual std::span<const std::string> warnings() const { return {}; }

  /// Held by index arrays of the executor; on a device, there, with what its libraries work in.
  virtual std::size_t bytes() const = 0;
};

}  // namespace espalier::runtime
