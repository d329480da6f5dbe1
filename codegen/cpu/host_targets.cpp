#include "codegen/cpu/host_targets.h"

#include <fmt/format.h>

#include "base/error.h"
#include "codegen/cpu/host.h"

namespace espalier::codegen {

Target host_target(std::string_view name) {
  std::vector<Target> targets = host_targets();
  std::string known;
  for (Target& target : targets) {
    if (name.empty() || target.name == name) return std::move(target);
    known += (known.empty() ? "" : ", ") + target.name;
  }
  throw UserError(fmt::format("target '{}': this machine runs {}", name, known));
}

std::vector<Target> host_targets() {
  const HostCpu host = host_cpu();
  std::vector<Target> targets;
  if (host.architecture == HostCpu::Architecture::x86_64) {
    if (host.avx512) targets.push_back({"avx512", host.name, host.features, 16, 32, true});
    // Fixed feature levels, so that what is cached and tested here is what other machines run.
    if (host.avx2) targets.push_back({"avx2", "x86-64-v3", "", 8, 16, true});
    targets.push_back({"portable", "x86-64", "", 4, 16, false});
  } else {
    const bool wide_file = host.architecture == HostCpu::Architecture::aarch64;
    targets.push_back({"portable", host.name, host.features, 4, wide_file ? 32 : 16, wide_file});
  }
  return targets;
}

}  // namespace espalier::codegen
