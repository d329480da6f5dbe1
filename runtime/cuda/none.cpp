// Built instead of the CUDA sources if the toolkit was missing.
#include "base/error.h"
#include "runtime/cuda/devices.h"
#include "runtime/cuda/executor.h"
#include "runtime/cuda/peaks.h"

namespace espalier::runtime {
namespace {
constexpr const char* why = "this build has no CUDA backend: it was made without the toolkit";
}

CudaReport find_cuda() { return {.driver = why, .nvrtc = why, .cublas = why, .gpus = {}}; }

std::string why_no_cuda() { return why; }

Backend make_cuda_backend(const std::vector<StoredParam>&, MemoryCounter&, codegen::Compiler&,
                          const EngineOptions&) {
  throw UserError(why);
}

DevicePeaks measure_device(const std::filesystem::path&) { throw UserError(why); }

std::string cuda_architecture() { throw UserError(why); }

}  // namespace espalier::runtime
