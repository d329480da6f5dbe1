#include "runtime/update/step_plan.h"

#include "base/error.h"

namespace espalier::runtime {
namespace {

struct CountedRows final : LaunchRows {
  explicit CountedRows(std::int64_t count) { end = count; }
  std::pair<std::int64_t, std::int64_t> children(int) const override { return {0, 0}; }
};

}  // namespace

void StepPlan::add(const codegen::CompiledKernel& kernel, std::span<const void* const> buffers,
                   std::int64_t count) {
  internal_check(buffers.size() == kernel.kernel.buffers.size(), "kernel '{}': {} buffers for {}",
                 kernel.kernel.name, buffers.size(), kernel.kernel.buffers.size());
  for (const void* buffer : buffers) plan_.bind(const_cast<void*>(buffer));
  plan_.add(kernel, CountedRows(count));
}

void StepPlan::run() {
  executor_.run(plan_, nullptr);
  plan_.clear();
}

}  // namespace espalier::runtime
