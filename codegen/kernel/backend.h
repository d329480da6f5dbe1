// What differs between targets in a Compiler: how a kernel becomes an object, and an object what
// the runtime calls. Internal to codegen; the compiler adds the caches.
#pragma once

#include <string>
#include <string_view>

#include "codegen/kernel/compiled_kernel.h"
#include "codegen/kernel/target.h"

namespace espalier::codegen {

class Backend {
 public:
  virtual ~Backend() = default;
  /// All that the kernel's object depends on. `text` is the kernel as printed.
  virtual std::string key(const Kernel& kernel, std::string_view text) const = 0;
  virtual std::string compile(const Kernel& kernel) = 0;
  /// Fills in all but the kernel, which is there already. Throws InternalError if the object is
  /// none of this kernel's.
  virtual void load(std::string object, CompiledKernel& into) = 0;
};

}  // namespace espalier::codegen
