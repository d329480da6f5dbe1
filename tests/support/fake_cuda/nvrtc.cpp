// A stand-in for libnvrtc.so.13. Its cubins are shared objects for this machine's processor, which
// the stand-in for the driver loads. Its version is a hash of the shim, unlike any version of
// NVRTC, so caches keep their objects apart. README.md lists the environment variables.
#include <nvrtc.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

struct _nvrtcProgram {
  std::string source, object, log;
};

#define FAKE extern "C" __attribute__((visibility("default")))

namespace {

std::string read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Whether kernels are checked for races (cuda_races.h). They are compiled and linked in two steps,
/// so that the sanitizer's own library is not linked.
bool watched() { return std::getenv("ESPALIER_FAKE_CUDA_RACES") != nullptr; }

/// A hash of the shim. Caches of kernels have it in their keys.
int shim_number() {
  std::uint32_t hash = 2166136261;
  for (const char* file : {"/tests/support/cuda_shim.h", "/tests/support/cuda_races.h"})
    for (const char c : read(std::string(ESPALIER_SOURCE_DIR) + file))
      hash = (hash ^ static_cast<unsigned char>(c)) * 16777619;
  return static_cast<int>(hash >> 4) * 2;
}

/// Like std::system, but signals still reach this process, and only this one, meanwhile: the real
/// library compiles within the process.
bool succeeds(const std::string& command) {
  posix_spawnattr_t own_group;
  posix_spawnattr_init(&own_group);
  posix_spawnattr_setflags(&own_group, POSIX_SPAWN_SETPGROUP);
  const char* const arguments[] = {"sh", "-c", command.c_str(), nullptr};
  pid_t child = 0;
  const bool began = posix_spawn(&child, "/bin/sh", nullptr, &own_group,
                                 const_cast<char* const*>(arguments), environ) == 0;
  posix_spawnattr_destroy(&own_group);
  int status = 1;
  while (began && waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  return began && status == 0;
}

}  // namespace

FAKE nvrtcResult nvrtcVersion(int* major, int* minor) {
  *major = 0;
  static const int number = shim_number();
  *minor = number + watched();
  return NVRTC_SUCCESS;
}
FAKE const char* nvrtcGetErrorString(nvrtcResult result) {
  return result == NVRTC_SUCCESS ? "success" : "the text does not compile";
}
FAKE nvrtcResult nvrtcGetNumSupportedArchs(int* count) {
  *count = 1;
  return NVRTC_SUCCESS;
}
FAKE nvrtcResult nvrtcGetSupportedArchs(int* architectures) {
  *architectures = 90;
  return NVRTC_SUCCESS;
}
FAKE nvrtcResult nvrtcCreateProgram(nvrtcProgram* program, const char* source, const char*, int,
                                    const char* const*, const char* const*) {
  *program = new _nvrtcProgram{source, {}, {}};
  return NVRTC_SUCCESS;
}
FAKE nvrtcResult nvrtcDestroyProgram(nvrtcProgram* program) {
  delete *program;
  *program = nullptr;
  return NVRTC_SUCCESS;
}
FAKE nvrtcResult nvrtcCompileProgram(nvrtcProgram program, int, const char* const*) {
  const char* const refused = std::getenv("ESPALIER_FAKE_NVRTC_REFUSES");
  if (refused && program->source.find(refused) != std::string::npos) {
    program->log = std::string("refused: ") + refused;
    return NVRTC_ERROR_COMPILATION;
  }
  std::string at = std::filesystem::temp_directory_path() / "espalier-fake-XXXXXX";
  if (!mkdtemp(at.data())) return NVRTC_ERROR_OUT_OF_MEMORY;
  std::ofstream(at + "/kernel.cpp", std::ios::binary) << program->source;
  const std::string part = " '" + at + "/kernel.o'", log = " 2>> '" + at + "/log'";
  const std::string compile =
      std::string(ESPALIER_SHIM_COMMAND) +
      (watched() ? " -DESPALIER_RACES -fsanitize=thread -I '" ESPALIER_SOURCE_DIR "'" : "") +
      " -c -o" + part + " '" + at + "/kernel.cpp'" + log;
  const std::string link =
      std::string(ESPALIER_SHIM_LINKER) + " -shared -o '" + at + "/kernel.so'" + part + log;
  const bool compiled = succeeds(compile) && succeeds(link);
  program->log = read(at + "/log");
  program->object = read(at + "/kernel.so");
  for (const char* file : {"/kernel.cpp", "/kernel.o", "/kernel.so", "/log"})
    std::remove((at + file).c_str());
  rmdir(at.c_str());
  return compiled ? NVRTC_SUCCESS : NVRTC_ERROR_COMPILATION;
}
FAKE nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram program, std::size_t* size) {
  *size = program->log.size() + 1;
  return NVRTC_SUCCESS;
}
FAKE nvrtcResult nvrtcGetProgramLog(nvrtcProgram program, char* log) {
  std::memcpy(log, program->log.c_str(), program->log.size() + 1);
  return NVRTC_SUCCESS;
}
FAKE nvrtcResult nvrtcGetCUBINSize(nvrtcProgram program, std::size_t* size) {
  *size = program->object.size();
  return NVRTC_SUCCESS;
}
FAKE nvrtcResult nvrtcGetCUBIN(nvrtcProgram program, char* object) {
  std::memcpy(object, program->object.data(), program->object.size());
  return NVRTC_SUCCESS;
}
