// In place of the sources that need cuBLAS's headers where these were missing at build time.
#include "base/error.h"
#include "runtime/cuda/library.h"

namespace espalier::runtime {
namespace {
constexpr const char* why = "this build has no cuBLAS: it was made without its headers";
}

std::string cublas_version() { return why; }

double library_rate(const CudaDevice&, Precision) { return 0; }

std::unique_ptr<Library> make_library(const CudaDevice&, CudaLauncher&, codegen::Compiler&,
                                      const EngineOptions& options, std::vector<std::string>&) {
  user_check(options.contractions != Contractions::cublas && options.precision == Precision::single,
             "cuBLAS was asked for, but {}", why);
  return nullptr;
}

}  // namespace espalier::runtime
