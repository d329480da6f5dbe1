// What LLVM knows about the machine this runs on; target.cpp makes Targets of it.
#pragma once

#include <string>

namespace espalier::codegen {

struct HostCpu {
  enum class Architecture { x86_64, aarch64, other };
  Architecture architecture = Architecture::other;
  std::string name;      ///< LLVM's name of the CPU
  std::string features;  ///< LLVM's feature list, sorted
  bool avx2 = false;     ///< the whole level x86-64-v3
  bool avx512 = false;   ///< the whole level x86-64-v4
};

HostCpu host_cpu();

}  // namespace espalier::codegen
