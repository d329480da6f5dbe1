// NVIDIA's compiler of CUDA C++, loaded when it is first asked for: it needs neither a GPU nor a
// driver. Where the build found no toolkit, nvrtc_none.cpp stands in and there is never one.
#pragma once

#include <string>
#include <string_view>

namespace espalier::codegen {

struct NvrtcState {
  std::string version;  ///< such as "13.0"; empty if there is none
  std::string problem;  ///< why there is none
};
const NvrtcState& nvrtc_state();

/// Machine code of a self-contained text for an architecture such as "sm_90": a cubin. Products and
/// sums are fused nowhere but where the text says so. Throws UserError if there is no NVRTC or it
/// does not know the architecture, and InternalError with the compiler's log if the text is wrong.
std::string compile_cubin(const std::string& source, std::string_view architecture);

}  // namespace espalier::codegen
