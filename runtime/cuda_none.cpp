// In place of the CUDA sources where the toolkit was missing at build time.
#include "runtime/cuda.h"

namespace espalier::runtime {
namespace {
constexpr const char* why = "this build has no CUDA backend: it was made without the toolkit";
}

CudaReport find_cuda() { return {.driver = why, .nvrtc = why, .cublas = why, .gpus = {}}; }

std::string why_no_cuda() { return why; }

}  // namespace espalier::runtime
