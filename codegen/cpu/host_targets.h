// The CPU targets of the machine that this runs on, by what LLVM knows about it.
#pragma once

#include <string_view>
#include <vector>

#include "codegen/kernel/target.h"

namespace espalier::codegen {

/// Every CPU target that this machine can run, the widest first.
std::vector<Target> host_targets();
/// The widest, or the one named; throws UserError that lists what the host can run.
Target host_target(std::string_view name = "");

}  // namespace espalier::codegen
