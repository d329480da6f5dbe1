// Where libraries of the CUDA toolkit may lie. They are loaded at run time, by codegen and runtime.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

namespace espalier::codegen {

/// What to open, one after the other: each name where the loader looks, then in the toolkit that
/// CUDA_HOME or CUDA_PATH names, then in one at its usual place, which the loader may not know.
std::vector<std::string> toolkit_files(std::initializer_list<const char*> names);

}  // namespace espalier::codegen
