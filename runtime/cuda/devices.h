// What of CUDA this build and this machine have: the driver, its GPUs, and the libraries that an
// engine on a GPU uses. All of it is loaded at run time, so one binary serves machines with and
// without. Read by engines when they are made, and by `espalier info`. A build without the toolkit
// has cuda_none.cpp in place of the other cuda_* sources.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace espalier::runtime {

struct CudaGpu {
  std::string name;
  std::int64_t bytes = 0;    ///< of memory
  int major = 0, minor = 0;  ///< compute capability
  int multiprocessors = 0;
  std::int64_t shared_bytes = 0;  ///< the most that a block can be given
  bool cooperative = false;       ///< all blocks of a launch can wait for each other

  /// `sm_90`
  std::string architecture() const { return "sm_" + std::to_string(major) + std::to_string(minor); }
};

/// Each text is a version, or says why there is none.
struct CudaReport {
  std::string driver, nvrtc, cublas;
  std::vector<CudaGpu> gpus;
};

CudaReport find_cuda();

/// Why no engine can run on a GPU here; empty if one can.
std::string why_no_cuda();

}  // namespace espalier::runtime
