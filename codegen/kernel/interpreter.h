// The definition of kernel IR: runs a stage on buffers, one coordinate after another, by the rules
// of kernel.h and nothing else. The oracle of every emitter; much too slow for other uses.
#pragma once

#include <cstdint>

#include "codegen/kernel/kernel.h"

namespace espalier::codegen {

struct InterpreterOptions {
  bool fma = true;  ///< fma rounds once; without it, it is mul, then add (see Target::fma)
};

/// Runs stage `stage` for the rows [row_begin, row_end) (ignored by a `once` stage), all parts.
/// `buffers` as for StageFunction.
void interpret(const Kernel& kernel, int stage, void* const* buffers, std::int64_t row_begin,
               std::int64_t row_end, InterpreterOptions options = {});

}  // namespace espalier::codegen
