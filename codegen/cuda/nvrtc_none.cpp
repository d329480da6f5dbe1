// For builds that found no CUDA toolkit.
#include "base/error.h"
#include "codegen/cuda/nvrtc.h"

namespace espalier::codegen {

const NvrtcState& nvrtc_state() {
  static const NvrtcState none{{}, "Espalier was built without the CUDA toolkit"};
  return none;
}

std::string compile_cubin(const std::string&, std::string_view) {
  throw UserError("CUDA kernels need NVRTC, and there is none: " + nvrtc_state().problem);
}

}  // namespace espalier::codegen
