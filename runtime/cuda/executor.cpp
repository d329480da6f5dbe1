#include "runtime/cuda/executor.h"

#include "base/error.h"
#include "base/stopwatch.h"
#include "codegen/cuda/form.h"
#include "runtime/cuda/contraction_library.h"
#include "runtime/cuda/launcher.h"
#include "runtime/update/step_io.h"
#include "runtime/update/update.h"

namespace espalier::runtime {
namespace {

class CudaExecutor final : public Executor {
 public:
  CudaExecutor(codegen::Compiler& compiler, const EngineOptions& options)
      : device_(0),
        launcher_(device_, compiler, options, warnings_),
        library_(make_contraction_library(device_, launcher_, compiler, options, warnings_)) {
    launcher_.set_library(library_.get());
  }
  ~CudaExecutor() override { device_.driver().functions().context_set_current(device_.context()); }

  DeviceMemory* memory() override { return &launcher_; }
  std::int64_t free_bytes() override {
    device_.use();
    return device_.free_bytes();
  }
  KernelForm form() override {
    return [library = library_.get()](codegen::Kernel kernel) {
      const auto by_library = [library](const codegen::ContractionShape& shape) {
        return library->by_library(shape);
      };
      if (!library) return codegen::cuda_form(std::move(kernel), {});
      return codegen::cuda_form(std::move(kernel), by_library, library->bf16());
    };
  }
  void begin(const Staged& expected) override { launcher_.begin(expected); }
  void reserve(const Staged& expected) override { launcher_.reserve(expected); }
  std::size_t growth(const Staged& expected, bool at_begin) const override {
    return launcher_.growth(expected, at_begin);
  }
  const void* place(const void* values, std::size_t bytes) override {
    return launcher_.place(values, bytes);
  }
  void run(const Plan& plan, std::vector<LaunchProfile>* profile) override {
    if (!profile) return launcher_.add(plan, 0, plan.size());
    launcher_.submit();
    launcher_.wait();
    for (std::size_t i = 0; i < plan.size(); ++i) {
      profile->push_back(plan.described(i));
      Stopwatch watch;
      run_range(plan, i, i + 1);
      profile->back().seconds = watch.lap();
    }
  }
  void run_range(const Plan& plan, std::size_t begin, std::size_t end) override {
    launcher_.add(plan, begin, end);
    launcher_.submit(/*may_walk=*/false);
    launcher_.wait();
  }
  Traffic traffic() const override { return launcher_.traffic(); }
  std::span<const std::string> warnings() const override { return warnings_; }
  std::size_t bytes() const override {
    return launcher_.bytes() + (library_ ? library_->bytes() : 0);
  }

 private:
  CudaDevice device_;
  std::vector<std::string> warnings_;
  CudaLauncher launcher_;
  std::unique_ptr<ContractionLibrary> library_;
};

}  // namespace

Backend make_cuda_backend(const std::vector<StoredParam>& stored, MemoryCounter& counter,
                          codegen::Compiler& compiler, const EngineOptions& options) {
  auto executor = std::make_unique<CudaExecutor>(compiler, options);
  auto io = std::make_unique<KernelStepIo>(counter, *executor, compiler);
  auto update = std::make_unique<KernelUpdate>(stored, counter, *executor, compiler, io->results());
  return {std::move(executor), std::move(io), std::move(update)};
}

std::string cuda_architecture() {
  const std::vector<CudaGpu> gpus = CudaDriver().gpus();
  user_check(!gpus.empty(), "found no GPU");
  return gpus.front().architecture();
}

}  // namespace espalier::runtime
