#include <fmt/format.h>

#include "ir/error.h"
#include "runtime/cuda.h"
#include "runtime/cuda_driver.h"
#include "runtime/cuda_products.h"

namespace espalier::runtime {
namespace {

std::string nvrtc_version() {
  const SharedLibrary library({"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"});
  const auto version = library.find<int (*)(int*, int*)>("nvrtcVersion");
  int major = 0, minor = 0;
  if (!version || version(&major, &minor) != 0) return "not found (libnvrtc.so.13)";
  return fmt::format("{}.{} ({})", major, minor, library.name());
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
    const CudaDriver driver;
    if (driver.gpus().empty()) return "the CUDA driver finds no GPU";
  } catch (const std::exception& error) {
    return error.what();
  }
  return {};
}

}  // namespace espalier::runtime
