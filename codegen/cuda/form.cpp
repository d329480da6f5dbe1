#include "codegen/cuda/form.h"

#include "codegen/kernel/split_rows.h"

namespace espalier::codegen {

Kernel cuda_form(Kernel kernel, const std::function<bool(const ContractionShape&)>& by_library,
                 bool bf16) {
  if (by_library) kernel = split_library_contractions(std::move(kernel), by_library, bf16);
  return split_rows(kernel);
}

}  // namespace espalier::codegen
