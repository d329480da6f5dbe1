#include "codegen/cpu/host.h"

#include <llvm/ADT/StringMap.h>
#include <llvm/TargetParser/Host.h>
#include <llvm/TargetParser/Triple.h>

#include <map>

#include "codegen/cpu/memory.h"

namespace espalier::codegen {

HostCpu host_cpu() {
  const InLlvm scope;
  HostCpu host;
  const llvm::Triple triple(llvm::sys::getProcessTriple());
  if (triple.getArch() == llvm::Triple::x86_64)
    host.architecture = HostCpu::Architecture::x86_64;
  else if (triple.isAArch64())
    host.architecture = HostCpu::Architecture::aarch64;
  host.name = llvm::sys::getHostCPUName().str();

  std::map<std::string, bool> features;
  for (const auto& feature : llvm::sys::getHostCPUFeatures())
    features[feature.getKey().str()] = feature.getValue();
  for (const auto& [name, present] : features)
    host.features += (host.features.empty() ? "" : ",") + std::string(present ? "+" : "-") + name;

  const auto all = [&](std::initializer_list<const char*> names) {
    for (const char* name : names)
      if (!features[name]) return false;
    return true;
  };
  host.avx2 = all({"avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave"});
  host.avx512 = host.avx2 && all({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"});
  return host;
}

}  // namespace espalier::codegen
