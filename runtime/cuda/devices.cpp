#include "runtime/cuda/devices.h"

#include <fmt/format.h>

#include "base/error.h"
#include "codegen/cuda/nvrtc.h"
#include "runtime/cuda/contraction_library.h"
#include "runtime/cuda/driver.h"

namespace espalier::runtime {
namespace {

/// Compute capability that kernels need, for asynchronous copies to shared memory.
constexpr int least_major = 8;

std::string nvrtc_version() {
  const auto& [version, problem] = codegen::nvrtc_state();
  return version.empty() ? fmt::format("not found ({})", problem) : version;
}

}  // namespace

CudaReport find_cuda() {
  CudaReport report{.driver = {}, .nvrtc = nvrtc_version(), .cublas = cublas_version(), .gpus = {}};
  try {
    const CudaDriver driver;
    report.driver = driver.version();
    report.gpus = driver.gpus();
  } catch (const std::exception& error) {
    report.driver = error.what();
  }
  return report;
}

std::string why_no_cuda() {
  try {
    const std::vector<CudaGpu> gpus = CudaDriver().gpus();
    if (gpus.empty()) return "the CUDA driver finds no GPU";
    if (gpus[0].major < least_major)
      return fmt::format("the {} is {}: kernels need sm_{}0 or newer", gpus[0].name,
                         gpus[0].architecture(), least_major);
    const auto& [version, problem] = codegen::nvrtc_state();
    if (version.empty()) return fmt::format("there is no NVRTC to compile kernels: {}", problem);
  } catch (const std::exception& error) {
    return error.what();
  }
  return {};
}

}  // namespace espalier::runtime
