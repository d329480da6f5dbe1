// What a step does besides running cells, on a device: the same as Update does on the host, by the
// kernels of step_kernels.h over device memory. The host sorts what it knows, the indices. Owned by
// the device's executor, whose `place` and `run` it uses.
#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "codegen/compiler.h"
#include "runtime/binding.h"
#include "runtime/executor.h"

namespace espalier::runtime {

class DeviceUpdate {
 public:
  /// `executor` and `compiler` outlive this.
  DeviceUpdate(const ir::Program& program, MemoryCounter& counter, Executor& executor,
               codegen::Compiler& compiler);
  ~DeviceUpdate();

  // As in Executor.
  void repack(Parameters& parameters);
  void seed_losses(const Memory& memory, Placement& placement, float scale);
  void gather_losses(const Memory& memory, Placement& placement);
  double take_loss();
  void collect(const Memory& memory, const Modules& modules, bool accumulates);
  std::size_t prepare(const Memory& memory, const Modules& modules, bool accumulates);
  void apply(Parameters& parameters, Optimizer& optimizer);
  double norm();
  std::vector<float> dense_gradient(Parameters& parameters, ir::ParamId param);
  std::size_t bytes() const;

 private:
  struct Source;
  struct Param;
  struct Home;
  using Compiled = const codegen::CompiledKernel*;

  const codegen::CompiledKernel& compile(codegen::Kernel kernel);
  /// Adds a kernel with these buffers over rows [0, count) to the plan.
  void add(const codegen::CompiledKernel& kernel, std::span<const void* const> buffers,
           std::int64_t count = 0);
  void add(const codegen::CompiledKernel& kernel, std::initializer_list<const void*> buffers,
           std::int64_t count = 0) {
    add(kernel, std::span(buffers.begin(), buffers.size()), count);
  }
  /// Hands the plan over to run.
  void run();
  template <class T>
  const T* place(const std::vector<T>& values);

  std::size_t width(ir::ParamId param) const;
  void classify(const Modules& modules);
  void collect_sources(const Memory& memory, const Modules& modules, ir::ParamId param,
                       bool accumulates);
  void clear(Parameters& parameters, ir::ParamId param);
  void sum_rows(Parameters& parameters, ir::ParamId param);
  void measure_norm(Parameters& parameters);
  void fetch();
  void attach(UpdateExpression& update);
  void bring_back();
  void apply_here(Parameters& parameters, UpdateExpression& update);
  void apply_on_host(Parameters& parameters, Optimizer& optimizer);

  const ir::Program& program_;
  Executor& executor_;
  codegen::Compiler& compiler_;
  Plan plan_;
  std::vector<Param> params_;
  std::vector<StoredParam> stored_;

  std::vector<std::pair<codegen::Packing, Compiled>> packs_;
  std::vector<std::pair<std::int64_t, Compiled>> seeds_, gathers_;  // by stride

  // What comes back to the host: the square of the norm, then losses.
  Buffer<float> results_;
  std::vector<float> fetched_;
  std::vector<std::int32_t> loss_places_, loss_rows_;
  std::size_t losses_ = 0;
  bool fetched_is_fresh_ = true;
  double loss_ = 0;  // of minibatch parts before

  Buffer<float> blocks_, control_;
  Compiled squares_ = nullptr, norm_ = nullptr, control_kernel_ = nullptr;
  std::vector<bool> squares_of_;  // params that squares_ is for

  MemoryCounter kept_counter_;  // the optimizer's state is not counted
  std::shared_ptr<Home> home_;
  std::vector<float> rates_;
};

}  // namespace espalier::runtime
