#include "runtime/cuda/executor.h"

#include "base/error.h"
#include "base/stopwatch.h"
#include "codegen/cuda/form.h"
#include "runtime/cuda/launcher.h"
#include "runtime/cuda/library.h"
#include "runtime/update/device_update.h"

namespace espalier::runtime {
namespace {

class CudaExecutor final : public Executor {
 public:
  CudaExecutor(const ir::Program& program, const std::vector<StoredParam>& stored,
               MemoryCounter& counter, codegen::Compiler& compiler, const EngineOptions& options)
      : device_(0),
        launcher_(device_, compiler, options, warnings_),
        products_(make_library(device_, launcher_, compiler, options, warnings_)),
        update_(program, stored, counter, *this, compiler) {
    launcher_.set_products(products_.get());
  }
  ~CudaExecutor() override { device_.driver().functions().context_set_current(device_.context()); }

  DeviceMemory* memory() override { return &launcher_; }
  std::int64_t free_bytes() override {
    device_.use();
    return device_.free_bytes();
  }
  codegen::Kernel form(codegen::Kernel kernel) override {
    const auto by_library = [this](const codegen::ContractionShape& shape) {
      return products_->by_library(shape);
    };
    if (!products_) return codegen::cuda_form(std::move(kernel), {});
    return codegen::cuda_form(std::move(kernel), by_library, products_->bf16());
  }
  void begin(const Staged& expected) override { launcher_.begin(expected); }
  void reserve(const Staged& expected) override { launcher_.reserve(expected); }
  Staged staged(const Memory& memory, const CellKernels& kernels, Placement& placement,
                bool gradients, bool accumulates) override {
    return update_.staged(memory, kernels, placement, gradients, accumulates);
  }
  std::size_t growth(const Staged& expected, bool at_begin) const override {
    return launcher_.growth(expected, at_begin);
  }
  const void* place(const void* values, std::size_t bytes) override {
    return launcher_.place(values, bytes);
  }

  void write_inputs(const Memory& memory, Placement& placement, std::size_t first) override {
    update_.write_inputs(memory, placement, first);
  }
  void run(const Plan& plan, std::vector<LaunchProfile>* profile) override {
    if (!profile) return launcher_.add(plan, 0, plan.size());
    launcher_.submit();
    launcher_.wait();
    for (std::size_t i = 0; i < plan.size(); ++i) {
      profile->push_back(plan.described(i));
      Stopwatch watch;
      run_part(plan, i, i + 1);
      profile->back().seconds = watch.lap();
    }
  }
  void run_part(const Plan& plan, std::size_t begin, std::size_t end) override {
    launcher_.add(plan, begin, end);
    launcher_.submit(/*may_walk=*/false);
    launcher_.wait();
  }

  void repack(ParamStore& param_store) override { update_.repack(param_store); }
  void seed_losses(const Memory& memory, Placement& placement, float scale) override {
    update_.seed_losses(memory, placement, scale);
  }
  void reserve_losses(std::size_t count) override { update_.reserve_losses(count); }
  void begin_losses(double sum) override { update_.begin_losses(sum); }
  void gather_losses(const Memory& memory, Placement& placement) override {
    update_.gather_losses(memory, placement);
  }
  double take_loss() override { return update_.take_loss(); }
  void collect(const Memory& memory, const CellKernels& kernels, bool accumulates) override {
    update_.collect(memory, kernels, accumulates);
  }
  void make_gradients(const Memory& memory, const CellKernels& kernels) override {
    update_.make_gradients(memory, kernels);
  }
  std::size_t prepare(const Memory& memory, const CellKernels& kernels, bool accumulates) override {
    return update_.prepare(memory, kernels, accumulates);
  }
  void adopt(Optimizer& optimizer) override { update_.adopt(optimizer); }
  void apply(ParamStore& param_store, Optimizer& optimizer) override {
    update_.apply(param_store, optimizer);
  }
  double norm() override { return update_.norm(); }
  std::vector<float> dense_gradient(ParamStore& param_store, ir::ParamId param) override {
    return update_.dense_gradient(param_store, param);
  }
  Traffic traffic() const override { return launcher_.traffic(); }
  std::span<const std::string> warnings() const override { return warnings_; }
  std::size_t bytes() const override {
    return launcher_.bytes() + (products_ ? products_->bytes() : 0);
  }

 private:
  CudaDevice device_;
  std::vector<std::string> warnings_;
  CudaLauncher launcher_;
  std::unique_ptr<Library> products_;
  DeviceUpdate update_;
};

}  // namespace

std::unique_ptr<Executor> make_cuda_executor(const ir::Program& program,
                                             const std::vector<StoredParam>& stored,
                                             MemoryCounter& counter, codegen::Compiler& compiler,
                                             const EngineOptions& options) {
  return std::make_unique<CudaExecutor>(program, stored, counter, compiler, options);
}

std::string cuda_architecture() {
  const std::vector<CudaGpu> gpus = CudaDriver().gpus();
  user_check(!gpus.empty(), "found no GPU");
  return gpus.front().architecture();
}

}  // namespace espalier::runtime
