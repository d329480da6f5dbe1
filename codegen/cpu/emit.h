// Kernel → LLVM IR: one function a stage, named by stage_symbol, with the signature of
// StageFunction. Called by jit.cpp, which makes machine code of it.
#pragma once

#include <string>

#include "codegen/kernel/kernel.h"
#include "codegen/kernel/target.h"

namespace llvm {
class Module;
}

namespace espalier::codegen {

std::string stage_symbol(std::size_t stage);
void emit_kernel(const Kernel& kernel, const Target& target, llvm::Module& module);

}  // namespace espalier::codegen
