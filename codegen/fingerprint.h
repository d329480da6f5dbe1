// What the kernels of this build depend on besides their kernel IR and LLVM: the sources of ir/ and
// codegen/. The build hashes them (cmake/EspalierFingerprint.cmake); the compiler makes the hash a
// part of each key of the kernel cache, so that no change of an emitter meets kernels of before.
#pragma once

#include <string_view>

namespace espalier::codegen {

/// SHA-256, in hexadecimal digits. Builds of equal sources have the same one.
std::string_view source_fingerprint();

}  // namespace espalier::codegen
