// The form in which a GPU gets a kernel: products that a library does are stages of their own, and
// weight gradients of few elements are summed in parts of the rows. Applied by the CUDA executor
// before a kernel is compiled, and by `espalier ir`.
#pragma once

#include <functional>

#include "codegen/kernel/library_calls.h"

namespace espalier::codegen {

/// `by_library` says which products are a library's; empty: none. If `bf16`, the library takes
/// factors rounded to that.
Kernel cuda_form(Kernel kernel, const std::function<bool(const ContractionShape&)>& by_library,
                 bool bf16 = false);

}  // namespace espalier::codegen
