// What a Compiler does per kind of target: compile a kernel to an object, and load the object into
// something that the runtime can call. Internal to codegen; the compiler adds the caches.
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
  /// Fills in everything but the kernel, which is set already. Throws InternalError if the object
  /// was not made from this kernel.
  virtual void load(std::string object, CompiledKernel& into) = 0;
};

}  // namespace espalier::codegen
