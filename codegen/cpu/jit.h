// Machine code from kernels, through LLVM: compile() makes an object file in memory, load() links
// one into this process. Objects need no symbol from outside, and may come from another process
// with the same target.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "codegen/kernel/compiled_kernel.h"
#include "codegen/kernel/target.h"

namespace espalier::codegen {

class Jit {
 public:
  explicit Jit(const Target& target);
  ~Jit();

  /// An object file with one function a stage.
  std::string compile(const Kernel& kernel);
  /// To look at: the LLVM IR that compile() starts from, or the assembly in which it ends.
  std::string dump(const Kernel& kernel, bool assembly);
  /// The functions of an object with that many stages; they live as long as the Jit. Throws
  /// InternalError if it is no such object.
  std::vector<StageFunction> load(std::string_view object, std::size_t stages);
  /// LLVM's version and the triple: what machine code depends on besides kernel and target.
  static std::string version();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace espalier::codegen
