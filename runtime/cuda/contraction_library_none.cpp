// Built instead of the sources that need cuBLAS's headers if these were missing.
#include "base/error.h"
#include "runtime/cuda/contraction_library.h"

namespace espalier::runtime {
namespace {
constexpr const char* why = "this build has no cuBLAS: it was made without its headers";
}

std::string cublas_version() { return why; }

double contraction_rate(const CudaDevice&, Precision) { return 0; }

std::unique_ptr<ContractionLibrary> make_contraction_library(const CudaDevice&, CudaLauncher&,
                                                             codegen::Compiler&,
                                                             const EngineOptions& options,
                                                             std::vector<std::string>&) {
  user_check(options.contractions != Contractions::cublas && options.precision == Precision::single,
             "cuBLAS was asked for, but {}", why);
  return nullptr;
}

}  // namespace espalier::runtime
