// What this machine has of CUDA: the driver, its GPUs, and the libraries that an engine on a GPU
// uses. All are loaded at run time, so one binary serves machines with and without a GPU. Read by
// engines when they are made and by `espalier info`. A build without the toolkit has none.cpp in
// place of the other sources of this folder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace espalier::runtime {

struct CudaGpu {
  std::string name;
  std::int64_t bytes = 0;    ///< of its memory
  int major = 0, minor = 0;  ///< compute capability
  int multiprocessors = 0;
  std::int64_t shared_bytes = 0;  ///< upper bound of a block's shared memory
  bool cooperative = false;       ///< supports a barrier of all blocks of a launch

  /// For example `sm_90`.
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
