// What a cubin says of its kernels. NVIDIA's tools print the same; here they need not be there.
#pragma once

#include <string>
#include <vector>

namespace espalier::test {

struct KernelUse {
  std::string name;
  int registers = 0;    ///< of a thread
  int local_bytes = 0;  ///< of a thread's stack: spilled registers and arrays
};

/// Throws InternalError if it is no cubin.
std::vector<KernelUse> kernels_in(const std::string& cubin);

/// The cubin of a text, made now or found in the tests' cache.
std::string cached_cubin(const std::string& source, const std::string& architecture);

}  // namespace espalier::test
