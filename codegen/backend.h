// What differs between targets in a Compiler: how a kernel becomes an object, and an object what
// the runtime calls. Internal to codegen; the compiler adds the caches.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "codegen/compiled_kernel.h"
#include "codegen/target.h"

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

std::unique_ptr<Backend> make_cpu_backend(const Target& target);
std::unique_ptr<Backend> make_cuda_backend(const Target& target);

/// All that the cubin of a CUDA text depends on.
std::string cubin_key(const std::string& source, std::string_view architecture);

}  // namespace espalier::codegen
