// The CPU side of a Compiler: LLVM's machine code, linked into this process.
#pragma once

#include <memory>
#include <string_view>

#include "codegen/kernel/backend.h"

namespace espalier::codegen {

/// `fingerprint` stands for the sources that make the code; a part of every key.
std::unique_ptr<Backend> make_cpu_backend(const Target& target, std::string_view fingerprint);

}  // namespace espalier::codegen
