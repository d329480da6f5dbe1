// A kernel as text: readable, and complete, so that equal texts mean equal code. The caches use it
// as the kernel's identity.
#pragma once

#include <string>

#include "codegen/kernel/kernel.h"

namespace espalier::codegen {

std::string print_kernel(const Kernel& kernel);

}  // namespace espalier::codegen
