#include "codegen/cuda/toolkit.h"

#include <cstdlib>

namespace espalier::codegen {

std::vector<std::string> toolkit_files(std::initializer_list<const char*> names) {
  std::vector<std::string> folders{""};
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"})
    if (const char* home = std::getenv(variable); home && *home)
      folders.push_back(std::string(home) + "/lib64/");
  folders.emplace_back("/usr/local/cuda/lib64/");
  std::vector<std::string> files;
  for (const std::string& folder : folders)
    for (const char* name : names) files.push_back(folder + name);
  return files;
}

}  // namespace espalier::codegen
