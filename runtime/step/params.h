// The params of one engine: values in C order, gradients, and packed copies of the weights for the
// kernels' tiles, renewed once after every change. Owned by the engine; bound into plans.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/thread_team.h"
#include "codegen/kernel/kernel.h"
#include "ir/program.h"
#include "runtime/step/buffer.h"
#include "runtime/step/optimizer.h"

namespace espalier::runtime {

/// The params as an optimizer is told of them, by what gradients reach in the cells so far.
std::vector<StoredParam> stored_params(const ir::Program& program);

/// The param of that name. UserError with the nearest name if there is none.
ir::ParamId find_param(const ir::Program& program, std::string_view name);

class ParamStore {
 public:
  /// Values are drawn as each param's initializer says, from a generator keyed by the seed and the
  /// param's position: uniform(a) in [−a, a); Glorot with fans [rows, all other axes]. All lies in
  /// the device's memory if one is given.
  ParamStore(const ir::Program& program, std::uint64_t seed, MemoryCounter& counter,
             DeviceMemory* device = nullptr);

  /// Where the kernels' values lie; brought there if the host changed them.
  float* data(ir::ParamId param);
  /// For the host to read; after mark_changed, and until the next `data`, to write.
  std::span<float> values(ir::ParamId param);
  /// Kernels changed the values; packed copies are renewed by the next repack.
  void changed_on_device(ir::ParamId param);
  /// Dense gradient; made at first use, not cleared. In the device's memory.
  std::span<float> gradient(ir::ParamId param);
  std::size_t size(ir::ParamId param) const {
    return std::size_t(program_.params[std::size_t(param)].shape.size());
  }

  /// The packed copy for a kernel; made at first use. The pointer holds for ever.
  float* packed(const codegen::Packing& packing);
  /// Values are changed by the host: packed copies are renewed by the next `repack`.
  void mark_changed(ir::ParamId param);
  void repack(ThreadTeam& team);
  /// Calls renew(packing, copy) for each packed copy that lags behind; they count as renewed.
  template <class Renew>
  void repack_with(const Renew& renew) {
    for (const auto& packed : packed_) {
      if (!packed->fresh) renew(packed->packing, packed->data.data());
      packed->fresh = true;
    }
  }

  /// Floats of a param that are best changed and packed together; whole rows of its packed copies.
  std::size_t piece(ir::ParamId param) const;
  /// Renews values [begin, end), whole pieces or the rest, in the packed copies. Threads may share
  /// the pieces.
  void pack(ir::ParamId param, std::size_t begin, std::size_t end);

 private:
  struct Packed {
    codegen::Packing packing;
    Buffer<float> data;
    bool fresh = false;
  };

  /// The host's copy of values that lie on a device, and which side is ahead of the other.
  struct Mirror {
    enum class Ahead : std::uint8_t { neither, host, device };
    std::vector<float> values;
    Ahead ahead = Ahead::host;
  };
  void mark_unpacked(ir::ParamId param);

  const ir::Program& program_;
  MemoryCounter& counter_;
  DeviceMemory* device_;
  std::vector<Mirror> mirrors_;  // on a device only
  std::vector<Buffer<float>> values_, gradients_;
  std::vector<std::unique_ptr<Packed>> packed_;
};

}  // namespace espalier::runtime
