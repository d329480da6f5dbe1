// A stand-in for libcuda.so.1 that runs kernels on this machine's processor: the calls about the
// device, modules and memory. README.md says how it differs from a real driver, and lists its
// environment variables.
#include <dlfcn.h>
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>

#include "tests/support/fake_cuda/machine.h"

using namespace espalier::fake;

namespace {

constexpr std::size_t device_alignment = 256;
constexpr unsigned char poison = 0xff;

struct Module {
  void* library = nullptr;
  std::map<std::string, std::unique_ptr<Function>> functions;
};

/// Aborts if a release is not allowed now. Callers do not check these calls, so errors would be
/// lost.
void needs_context(const char* what) {
  if (!is_current()) fail((std::string(what) + " without a current context").c_str());
  if (machine().captured) fail((std::string(what) + " while a graph is captured").c_str());
}

/// Size of an object file. Its section headers come last, as linkers write them. 0 if it is none.
std::size_t elf_bytes(const void* image) {
  Elf64_Ehdr header;
  std::memcpy(&header, image, sizeof header);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return 0;
  return header.e_shoff + std::size_t{header.e_shnum} * header.e_shentsize;
}

}  // namespace

FAKE cuInit(unsigned) {
  const char* const visible = std::getenv("CUDA_VISIBLE_DEVICES");
  return visible && std::strcmp(visible, "-1") == 0 ? CUDA_ERROR_NO_DEVICE : CUDA_SUCCESS;
}
FAKE cuDriverGetVersion(int* version) {
  *version = 13000;
  return CUDA_SUCCESS;
}
FAKE cuGetErrorName(CUresult error, const char** name) {
  const Lock lock(mutex);
  static std::map<CUresult, std::string> names{
      {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"}};
  *name = names.try_emplace(error, "error " + std::to_string(int(error))).first->second.c_str();
  return CUDA_SUCCESS;
}
FAKE cuGetErrorString(CUresult, const char** text) {
  *text = "from the stand-in driver";
  return CUDA_SUCCESS;
}
FAKE cuDeviceGetCount(int* count) {
  *count = 1;
  return CUDA_SUCCESS;
}
FAKE cuDeviceGet(CUdevice* device, int ordinal) {
  *device = ordinal;
  return ordinal == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}
FAKE cuDeviceGetName(char* name, int length, CUdevice) {
  std::snprintf(name, std::size_t(length), "this machine's processor");
  return CUDA_SUCCESS;
}
FAKE cuDeviceTotalMem(std::size_t* bytes, CUdevice) {
  *bytes = machine().total();
  return CUDA_SUCCESS;
}
FAKE cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: {
      const char* const given = std::getenv("ESPALIER_FAKE_CUDA_MAJOR");
      *value = given ? std::atoi(given) : 9;
      return CUDA_SUCCESS;
    }
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      *value = 0;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
      *value = multiprocessors();
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH: {
      const char* given = std::getenv("ESPALIER_FAKE_CUDA_COOPERATIVE");
      *value = given ? std::atoi(given) : 1;
      return CUDA_SUCCESS;
    }
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
      *value = int(most_shared_bytes);
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}
FAKE cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice) {
  *context = reinterpret_cast<CUcontext>(&machine());
  return CUDA_SUCCESS;
}
FAKE cuDevicePrimaryCtxRelease(CUdevice) {
  const Lock lock(mutex);
  if (machine().failed != CUDA_SUCCESS) {  // errors are gone with the context
    machine().failed = CUDA_SUCCESS;
    machine().queue.clear();
  }
  return CUDA_SUCCESS;
}
FAKE cuCtxSetCurrent(CUcontext context) {
  is_current() = context != nullptr;
  return CUDA_SUCCESS;
}

FAKE cuModuleLoadData(CUmodule* module, const void* image) {
  if (!is_current()) return CUDA_ERROR_INVALID_CONTEXT;
  if (machine().captured) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  const std::size_t bytes = elf_bytes(image);
  if (bytes == 0) return CUDA_ERROR_INVALID_IMAGE;
  std::string path = std::filesystem::temp_directory_path() / "espalier-fake-XXXXXX";
  const int file = mkstemp(path.data());
  if (file < 0 || write(file, image, bytes) != ssize_t(bytes)) fail("no room for a module");
  close(file);
  auto made = std::make_unique<Module>();
  made->library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  unlink(path.c_str());
  if (!made->library) fail(dlerror());
  *module = reinterpret_cast<CUmodule>(made.release());
  return CUDA_SUCCESS;
}
FAKE cuModuleUnload(CUmodule module) {
  const Lock lock(mutex);
  needs_context("a module is unloaded");
  const CUresult result = machine().drain();
  auto* const made = reinterpret_cast<Module*>(module);  // freed even if the context has failed
  dlclose(made->library);
  delete made;
  return result;
}
FAKE cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
  auto* const from = reinterpret_cast<Module*>(module);
  auto& made = from->functions[name];
  if (!made) made = std::make_unique<Function>();
  made->kernel = dlsym(from->library, name);
  made->launch =
      reinterpret_cast<decltype(made->launch)>(dlsym(from->library, "espalier_host_launch"));
  if (!made->kernel || !made->launch) return CUDA_ERROR_NOT_FOUND;
  *function = reinterpret_cast<CUfunction>(made.get());
  return CUDA_SUCCESS;
}
FAKE cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES ||
      std::size_t(value) > most_shared_bytes)
    return CUDA_ERROR_INVALID_VALUE;
  reinterpret_cast<Function*>(function)->shared_bytes = std::size_t(value);
  return CUDA_SUCCESS;
}
FAKE cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction, int, std::size_t shared) {
  *blocks = blocks_each(shared);
  return CUDA_SUCCESS;
}

FAKE cuMemGetInfo(std::size_t* free, std::size_t* total) {
  const Lock lock(mutex);
  *total = machine().total();
  *free = *total > machine().used ? *total - machine().used : 0;
  return CUDA_SUCCESS;
}
FAKE cuMemAlloc(CUdeviceptr* address, std::size_t bytes) {
  const Lock lock(mutex);
  Machine& m = machine();
  if (!is_current()) return CUDA_ERROR_INVALID_CONTEXT;
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  if (m.captured) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (m.used + bytes > m.total()) return CUDA_ERROR_OUT_OF_MEMORY;
  // It ends at the end of a page, except for alignment; the next page is never accessible.
  const std::size_t rounded = (bytes + device_alignment - 1) / device_alignment * device_alignment;
  Allocation allocation;
  allocation.mapped = (rounded + page - 1) / page * page + page;
  allocation.size = bytes;
  void* const pages =
      mmap(nullptr, allocation.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  allocation.pages = static_cast<char*>(pages);
  std::memset(pages, poison, allocation.mapped - page);
  mprotect(pages, allocation.mapped, PROT_NONE);
  *address = CUdeviceptr(allocation.pages + allocation.mapped - page - rounded);
  m.device[std::uintptr_t(*address)] = allocation;
  m.used += bytes;
  return CUDA_SUCCESS;
}
FAKE cuMemFree(CUdeviceptr address) {
  const Lock lock(mutex);
  Machine& m = machine();
  needs_context("memory is freed");
  m.drain();
  const auto found = m.device.find(std::uintptr_t(address));
  if (found == m.device.end()) fail("memory is freed that was not allocated");
  const Allocation& allocation = found->second;
  mprotect(allocation.pages, allocation.mapped - page, PROT_READ);
  for (const char* at = allocation.pages; at < allocation.pages + allocation.mapped - page; ++at) {
    const auto offset = std::uintptr_t(at) - found->first;
    const bool inside = std::uintptr_t(at) >= found->first && offset < allocation.size;
    if (!inside && static_cast<unsigned char>(*at) != poison)
      fail("a kernel wrote outside of an allocation");
  }
  munmap(allocation.pages, allocation.mapped);
  m.used -= allocation.size;
  m.device.erase(found);
  return CUDA_SUCCESS;
}
FAKE cuMemHostAlloc(void** address, std::size_t bytes, unsigned) {
  const Lock lock(mutex);
  if (!is_current()) return CUDA_ERROR_INVALID_CONTEXT;
  if (machine().captured) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  *address = std::calloc(bytes, 1);
  machine().pinned[std::uintptr_t(*address)] = {.pages = nullptr, .mapped = 0, .size = bytes};
  return CUDA_SUCCESS;
}
FAKE cuMemFreeHost(void* address) {
  const Lock lock(mutex);
  needs_context("memory of the host is freed");
  machine().drain();
  machine().pinned.erase(std::uintptr_t(address));
  std::free(address);
  return CUDA_SUCCESS;
}
