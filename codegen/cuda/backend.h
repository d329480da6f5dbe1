// The GPU side of a Compiler: CUDA C++, compiled by NVRTC.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "codegen/kernel/backend.h"

namespace espalier::codegen {

std::unique_ptr<Backend> make_cuda_backend(const Target& target);

/// All that the cubin of a CUDA text depends on.
std::string cubin_key(const std::string& source, std::string_view architecture);

}  // namespace espalier::codegen
