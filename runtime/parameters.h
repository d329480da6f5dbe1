// The params of one engine: values in C order, gradients, and packed copies of the weights for the
// kernels' tiles, renewed once after every change. Owned by the engine; bound into plans.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "codegen/kernel_ir.h"
#include "ir/program.h"
#include "runtime/buffer.h"
#include "runtime/thread_team.h"

namespace espalier::runtime {

class Parameters {
 public:
  /// Values are drawn as each param's initializer says, from a generator keyed by the seed and the
  /// param's position: uniform(a) in [−a, a); Glorot with fans [rows, all other axes].
  Parameters(const ir::Program& program, std::uint64_t seed, MemoryCounter& counter);

  std::span<float> values(ir::ParamId param) {
    return values_[std::size_t(param)].first(size(param));
  }
  std::span<const float> values(ir::ParamId param) const {
    return values_[std::size_t(param)].first(size(param));
  }
  /// Dense gradient; made at first use, not cleared.
  std::span<float> gradient(ir::ParamId param);
  std::size_t size(ir::ParamId param) const {
    return std::size_t(program_.params[std::size_t(param)].shape.size());
  }

  /// The packed copy for a kernel; made at first use. The pointer holds for ever.
  float* packed(const codegen::Packing& packing);
  /// Values were changed: packed copies are renewed by the next `repack`.
  void mark_changed(ir::ParamId param);
  void repack(ThreadTeam& team);

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

  const ir::Program& program_;
  MemoryCounter& counter_;
  std::vector<Buffer<float>> values_, gradients_;
  std::vector<std::unique_ptr<Packed>> packed_;
};

}  // namespace espalier::runtime
