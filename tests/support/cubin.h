// Reads the resource usage of kernels from a cubin, as NVIDIA's tools do, which need not be
// installed.
#pragma once

#include <string>
#include <vector>

namespace espalier::test {

struct KernelUse {
  std::string name;
  int registers = 0;    ///< per thread
  int local_bytes = 0;  ///< stack per thread: spilled registers and arrays
};

/// InternalError if it is not a cubin.
std::vector<KernelUse> kernels_in(const std::string& cubin);

/// The cubin of a source, compiled now or found in the disk cache of the tests.
std::string cached_cubin(const std::string& source, const std::string& architecture);

}  // namespace espalier::test
