// By itself: who asks only where the cache lies links no compiler.
#include <cstdlib>

#include "codegen/compiler.h"

namespace espalier::codegen {

std::filesystem::path default_cache_directory() {
  // By the XDG base directory specification, a relative path counts as unset.
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache == '/')
    return std::filesystem::path(cache) / "espalier";
  if (const char* home = std::getenv("HOME"); home && *home)
    return std::filesystem::path(home) / ".cache" / "espalier";
  return {};
}

}  // namespace espalier::codegen
