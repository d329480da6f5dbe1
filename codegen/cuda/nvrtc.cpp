#include "codegen/cuda/nvrtc.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <nvrtc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "base/error.h"
#include "codegen/cuda/toolkit.h"

namespace espalier::codegen {

namespace {

struct Functions {
  decltype(&nvrtcVersion) version;
  decltype(&nvrtcGetErrorString) error_string;
  decltype(&nvrtcGetNumSupportedArchs) count_architectures;
  decltype(&nvrtcGetSupportedArchs) architectures;
  decltype(&nvrtcCreateProgram) create;
  decltype(&nvrtcDestroyProgram) destroy;
  decltype(&nvrtcCompileProgram) compile;
  decltype(&nvrtcGetProgramLogSize) log_size;
  decltype(&nvrtcGetProgramLog) log;
  decltype(&nvrtcGetCUBINSize) cubin_size;
  decltype(&nvrtcGetCUBIN) cubin;
};

void* open_library(std::string& problem) {
  for (const std::string& file :
       toolkit_files({"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"})) {
    if (void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
    const char* error = dlerror();
    if (problem.empty() && error) problem = error;
  }
  return nullptr;
}

/// Never unloaded: whoever holds a function may call it until the process ends.
struct Library {
  Functions functions{};
  NvrtcState state;

  Library() {
    void* const library = open_library(state.problem);
    if (!library) return;
    state.problem.clear();
    find(library, "nvrtcVersion", functions.version);
    find(library, "nvrtcGetErrorString", functions.error_string);
    find(library, "nvrtcGetNumSupportedArchs", functions.count_architectures);
    find(library, "nvrtcGetSupportedArchs", functions.architectures);
    find(library, "nvrtcCreateProgram", functions.create);
    find(library, "nvrtcDestroyProgram", functions.destroy);
    find(library, "nvrtcCompileProgram", functions.compile);
    find(library, "nvrtcGetProgramLogSize", functions.log_size);
    find(library, "nvrtcGetProgramLog", functions.log);
    find(library, "nvrtcGetCUBINSize", functions.cubin_size);
    find(library, "nvrtcGetCUBIN", functions.cubin);
    if (!state.problem.empty()) return;
    int major = 0, minor = 0;
    if (functions.version(&major, &minor) == NVRTC_SUCCESS)
      state.version = fmt::format("{}.{}", major, minor);
    else
      state.problem = "libnvrtc does not tell its version";
  }

  template <class Function>
  void find(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (!function) state.problem = fmt::format("libnvrtc has no {}", name);
  }
};

const Library& library() {
  static const Library loaded;
  return loaded;
}

void check(nvrtcResult result, std::string_view what) {
  internal_check(result == NVRTC_SUCCESS, "NVRTC, {}: {}", what,
                 library().functions.error_string(result));
}

void check_architecture(const Functions& nvrtc, std::string_view architecture) {
  int count = 0;
  check(nvrtc.count_architectures(&count), "architectures");
  std::vector<int> numbers(static_cast<std::size_t>(count));
  check(nvrtc.architectures(numbers.data()), "architectures");
  // A letter behind the number asks for what only that architecture has.
  const int wanted =
      std::atoi(std::string(architecture.substr(architecture.find('_') + 1)).c_str());
  user_check(std::ranges::find(numbers, wanted) != numbers.end(),
             "NVRTC {} does not compile for '{}': it knows sm_{}", library().state.version,
             architecture, fmt::join(numbers, ", sm_"));
}

}  // namespace

const NvrtcState& nvrtc_state() { return library().state; }

std::string compile_cubin(const std::string& source, std::string_view architecture) {
  const auto& [version, problem] = nvrtc_state();
  user_check(!version.empty(), "CUDA kernels need NVRTC, and there is none: {}", problem);
  const Functions& nvrtc = library().functions;
  check_architecture(nvrtc, architecture);

  nvrtcProgram made = nullptr;
  check(nvrtc.create(&made, source.c_str(), "kernel.cu", 0, nullptr, nullptr), "a program");
  const std::unique_ptr<nvrtcProgram, decltype(nvrtc.destroy)> owner(&made, nvrtc.destroy);
  const std::string target = fmt::format("--gpu-architecture={}", architecture);
  const char* options[] = {target.c_str(), "--std=c++17", "--fmad=false"};
  const nvrtcResult result = nvrtc.compile(made, std::size(options), options);
  std::size_t size = 0;
  if (result != NVRTC_SUCCESS) {
    check(nvrtc.log_size(made, &size), "a log");
    std::string log(size, '\0');
    check(nvrtc.log(made, log.data()), "a log");
    throw InternalError(fmt::format("NVRTC {} for {}: {}\n{}", version, architecture,
                                    nvrtc.error_string(result), log.c_str()));
  }
  check(nvrtc.cubin_size(made, &size), "a cubin");
  std::string cubin(size, '\0');
  check(nvrtc.cubin(made, cubin.data()), "a cubin");
  return cubin;
}

}  // namespace espalier::codegen
